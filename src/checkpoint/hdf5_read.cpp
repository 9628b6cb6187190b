#include "checkpoint/hdf5_read.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr const char* kLockFailure = "unable to lock";  // HDF5's words
constexpr std::uintmax_t kSmallestFile = 512;           // no checkpoint is as small as that

bool contains(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

/// The signature stands at 0, or behind a user block at 512, 1024, 2048, ...
bool has_hdf5_signature(int fd, std::int64_t bytes) {
  static constexpr std::array<char, 8> kSignature = {'\x89', 'H', 'D', 'F', '\r', '\n', '\x1a', '\n'};
  for (std::int64_t at = 0; at + 8 <= bytes; at = at == 0 ? 512 : at * 2) {
    std::array<char, 8> found{};
    if (pread(fd, found.data(), found.size(), at) == 8 && found == kSignature) return true;
  }
  return false;
}

/// What needs no HDF5 to find out.
void check_plain_file(const std::string& path) {
  // Non-blocking: a named pipe without a writer must not stop the program here.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) throw CheckpointError(path + ": cannot be opened: " + std::strerror(errno));
  struct stat status {};
  const bool known = fstat(fd, &status) == 0;
  const bool hdf5 = known && S_ISREG(status.st_mode) && has_hdf5_signature(fd, status.st_size);
  close(fd);
  if (known && S_ISDIR(status.st_mode))
    throw CheckpointError(path + ": is a directory, not a checkpoint file");
  if (!known || !S_ISREG(status.st_mode)) throw CheckpointError(path + ": is not a regular file");
  if (status.st_size == 0) throw CheckpointError(path + ": is empty (0 bytes)");
  if (!hdf5) throw CheckpointError(path + ": is not an HDF5 file");
}

Handle file_access(const std::string& path, bool lock) {
  Handle access = checked(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, path, "H5Pcreate");
#if H5_VERSION_GE(1, 14, 0) || (H5_VERSION_GE(1, 12, 1) && !H5_VERSION_GE(1, 13, 0)) || \
    (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 11, 0))
  if (!lock) checked(H5Pset_file_locking(access.get(), false, true), path, "H5Pset_file_locking");
#else
  if (!lock)
    setenv("HDF5_USE_FILE_LOCKING", "FALSE", 1);  // libraries without the call above ask for it at each open
#endif
  return access;
}

/// No file and a reason where it cannot be opened.
ReadableFile try_open(const std::string& path, bool lock, std::string& reason) {
  const Handle access = file_access(path, lock);
  ReadableFile opened;
  opened.links = checked(H5Pcreate(H5P_LINK_ACCESS), H5Pclose, path, "H5Pcreate");
  checked(H5Pset_elink_fapl(opened.links.get(), access.get()), path, "H5Pset_elink_fapl");
  opened.file = Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, access.get()), H5Fclose);
  if (!opened.file) reason = take_hdf5_error();  // at once: any further call empties the error stack
  return opened;
}

[[noreturn]] void throw_open_failure(const std::string& path, const std::string& reason) {
  bool truncated = std::filesystem::file_size(path) < kSmallestFile;
  for (const char* sign : {"truncated file", "addr overflow", "eof"})
    truncated = truncated || contains(reason, sign);
  if (truncated) throw CheckpointError(path + ": truncated: the file ends too early (HDF5: " + reason + ")");
  throw CheckpointError(path + ": damaged or unsupported HDF5 file (HDF5: " + reason + ")");
}

/// Memory type for a string as it is stored, since HDF5 does not convert fixed to variable length.
std::string read_fixed_string(hid_t attribute, hid_t type, const std::string& where) {
  std::string text(H5Tget_size(type), '\0');
  checked(H5Aread(attribute, type, text.data()), where, "H5Aread");
  const H5T_str_t padding = H5Tget_strpad(type);
  if (padding == H5T_STR_NULLTERM) text.resize(std::min(text.find('\0'), text.size()));
  while (!text.empty() && (text.back() == '\0' || (padding == H5T_STR_SPACEPAD && text.back() == ' ')))
    text.pop_back();
  return text;
}

std::string read_variable_string(hid_t attribute, hid_t type, const std::string& where) {
  char* stored = nullptr;
  checked(H5Aread(attribute, type, &stored), where, "H5Aread");
  const std::string text = stored ? stored : "";
  H5free_memory(stored);
  return text;
}

/// An attribute that exists, and the number of its elements.
struct OpenAttribute {
  Handle attribute, type;
  std::int64_t elements = 0;
};

std::optional<OpenAttribute> open_attribute(hid_t object, const char* name, const std::string& where) {
  if (checked(H5Aexists(object, name), where, "H5Aexists") == 0) return std::nullopt;
  OpenAttribute open;
  open.attribute = checked(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, where, "H5Aopen");
  open.type = checked(H5Aget_type(open.attribute.get()), H5Tclose, where, "H5Aget_type");
  const Handle space = checked(H5Aget_space(open.attribute.get()), H5Sclose, where, "H5Aget_space");
  open.elements = checked(H5Sget_simple_extent_npoints(space.get()), where, "H5Sget_simple_extent_npoints");
  return open;
}

std::string attribute_of(const std::string& where, const char* name) {
  return where + ": attribute '" + name + "'";
}

herr_t append_name(hid_t, const char* name, const H5L_info_t*, void* names) {
  static_cast<std::vector<std::string>*>(names)->emplace_back(name);
  return 0;
}

/// Why an external link leads nowhere: the file's own trouble, or an object that is not in it.
[[noreturn]] void throw_external_failure(hid_t group, const std::string& where, const char* file,
                                         const char* object, const std::string& reason) {
  const std::filesystem::path folder = std::filesystem::path(file_name_of(group)).parent_path();
  const std::string target = (folder / file).string();
  try {
    open_read_only(target);
  } catch (const CheckpointError& failure) {
    throw CheckpointError(where + ": is an external link to " + failure.what());
  }
  throw CheckpointError(where + ": is an external link to '" + object + "' in " + target +
                        ", which cannot be opened (HDF5: " + reason + ")");
}

[[noreturn]] void throw_link_failure(hid_t group, const std::string& name, const std::string& where) {
  const std::string reason = take_hdf5_error();
  H5L_info_t info;
  if (H5Lget_info(group, name.c_str(), &info, H5P_DEFAULT) < 0)
    throw CheckpointError(where + ": cannot be opened (HDF5: " + reason + ")");
  if (info.type != H5L_TYPE_SOFT && info.type != H5L_TYPE_EXTERNAL)
    throw CheckpointError(where + ": damaged, cannot be opened (HDF5: " + reason + ")");
  std::string value(info.u.val_size, '\0');
  checked(H5Lget_val(group, name.c_str(), value.data(), value.size(), H5P_DEFAULT), where, "H5Lget_val");
  if (info.type == H5L_TYPE_SOFT)
    throw CheckpointError(where + ": is a link to '" + value.c_str() +
                          "', which leads nowhere (HDF5: " + reason + ")");
  const char *file = "", *object = "";
  checked(H5Lunpack_elink_val(value.data(), value.size(), nullptr, &file, &object), where,
          "H5Lunpack_elink_val");
  throw_external_failure(group, where, file, object, reason);
}

}  // namespace

ReadableFile open_read_only(const std::string& path) {
  check_plain_file(path);
  std::string reason;
  if (ReadableFile opened = try_open(path, true, reason); opened.file) return opened;
  if (contains(reason, kLockFailure)) {
    // EAGAIN means that somebody holds the lock; anything else that the file system has none.
    if (contains(reason, std::strerror(EAGAIN)))
      throw CheckpointError(path + ": is being written by another process (HDF5: " + reason + ")");
    if (ReadableFile opened = try_open(path, false, reason); opened.file) return opened;
    if (contains(reason, kLockFailure))
      throw CheckpointError(path + ": cannot be locked; set HDF5_USE_FILE_LOCKING=FALSE (HDF5: " + reason +
                            ")");
  }
  throw_open_failure(path, reason);
}

std::string file_name_of(hid_t object) {
  const ssize_t size = H5Fget_name(object, nullptr, 0);
  if (size < 0) throw_hdf5_error("HDF5 object", "H5Fget_name");
  std::string name(static_cast<std::size_t>(size) + 1, '\0');
  H5Fget_name(object, name.data(), name.size());
  name.pop_back();
  return name;
}

std::optional<std::string> string_attribute(hid_t object, const char* name, const std::string& at) {
  const std::string where = attribute_of(at, name);
  const std::optional<OpenAttribute> open = open_attribute(object, name, where);
  if (!open) return std::nullopt;
  const hid_t type = open->type.get();
  if (H5Tget_class(type) != H5T_STRING || open->elements != 1)
    throw CheckpointError(where + ": has the wrong type (expected one string, found " +
                          std::to_string(open->elements) + " of " + describe_type(type) + ")");
  return H5Tis_variable_str(type) > 0 ? read_variable_string(open->attribute.get(), type, where)
                                      : read_fixed_string(open->attribute.get(), type, where);
}

std::optional<std::vector<std::int64_t>> integer_attribute(hid_t object, const char* name,
                                                           const std::string& at) {
  constexpr std::int64_t kMostElements = 8;
  const std::string where = attribute_of(at, name);
  const std::optional<OpenAttribute> open = open_attribute(object, name, where);
  if (!open) return std::nullopt;
  if (H5Tget_class(open->type.get()) != H5T_INTEGER || open->elements < 1 || open->elements > kMostElements)
    throw CheckpointError(where + ": has the wrong type (expected integers, found " +
                          std::to_string(open->elements) + " of " + describe_type(open->type.get()) + ")");
  std::vector<std::int64_t> values(static_cast<std::size_t>(open->elements));
  checked(H5Aread(open->attribute.get(), H5T_NATIVE_INT64, values.data()), where, "H5Aread");
  return values;
}

std::optional<std::uint64_t> checksum_attribute(hid_t object, const char* name, const std::string& at) {
  const std::string where = attribute_of(at, name);
  const std::optional<OpenAttribute> open = open_attribute(object, name, where);
  if (!open) return std::nullopt;
  const hid_t type = open->type.get();
  // A signed type would be clipped at zero on its way into an unsigned one, silently.
  const bool fits = H5Tget_class(type) == H5T_INTEGER && H5Tget_sign(type) == H5T_SGN_NONE &&
                    H5Tget_size(type) == sizeof(std::uint64_t);
  if (!fits || open->elements != 1)
    throw CheckpointError(where + ": has the wrong type (expected one uint64, found " +
                          std::to_string(open->elements) + " of " + describe_type(type) + ")");
  std::uint64_t value = 0;
  checked(H5Aread(open->attribute.get(), H5T_NATIVE_UINT64, &value), where, "H5Aread");
  return value;
}

std::string describe_type(hid_t type) {
  const std::string bits = std::to_string(H5Tget_size(type) * 8);
  const std::string order = H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? "big-endian " : "";
  switch (H5Tget_class(type)) {
    case H5T_INTEGER:
      return order + (H5Tget_sign(type) == H5T_SGN_NONE ? "uint" : "int") + bits;
    case H5T_FLOAT:
      return order + "float" + bits;
    case H5T_STRING:
      return "string";
    case H5T_COMPOUND:
      return "compound";
    case H5T_ENUM:
      return "enumeration";
    default:
      return "another type of " + bits + " bits";
  }
}

std::vector<std::int64_t> extents_of(hid_t dataset, const std::string& where) {
  const Handle space = checked(H5Dget_space(dataset), H5Sclose, where, "H5Dget_space");
  const int rank = checked(H5Sget_simple_extent_ndims(space.get()), where, "H5Sget_simple_extent_ndims");
  std::vector<hsize_t> extents(static_cast<std::size_t>(rank));
  if (rank > 0)
    checked(H5Sget_simple_extent_dims(space.get(), extents.data(), nullptr), where,
            "H5Sget_simple_extent_dims");
  return {extents.begin(), extents.end()};
}

Handle open_object(hid_t group, const std::string& name, const Handle& links, const std::string& where) {
  Handle object(H5Oopen(group, name.c_str(), links.get()), H5Oclose);
  if (!object) throw_link_failure(group, name, where);
  return object;
}

std::vector<std::string> link_names(hid_t group, const std::string& where) {
  std::vector<std::string> names;
  hsize_t position = 0;
  checked(H5Literate(group, H5_INDEX_NAME, H5_ITER_NATIVE, &position, append_name, &names), where,
          "H5Literate");
  return names;
}

}  // namespace stagformer::internal
