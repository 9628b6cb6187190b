#include "checkpoint/output_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// Up to this alignment every dataset is aligned; beyond, only those of at least kSmallDataset bytes are,
/// since HDF5 would align its own small blocks as well and waste a stripe on each.
constexpr std::int64_t kPage = 4096;
constexpr std::int64_t kSmallDataset = 64 << 10;
constexpr std::size_t kLargestWrite = std::size_t{1} << 30;

hid_t stored_type(NumberFormat format) {
  if (is_block_format(format)) return H5T_STD_U8LE;
  return format == NumberFormat::f32 ? H5T_IEEE_F32LE : H5T_STD_U16LE;
}

}  // namespace

void OutputFile::fail(const std::string& what, int error) const {
  throw InputError(path_ + ": " + what + ": " + std::strerror(error));
}

Handle OutputFile::take(hid_t id, Handle::Close close, const char* what) const {
  require(id < 0 ? -1 : 0, what);
  return {id, close};
}

void OutputFile::require(herr_t status, const char* what) const {
  if (status < 0) throw InputError(path_ + ": cannot be written: " + what + ": " + take_hdf5_error());
}

OutputFile::OutputFile(const std::string& path, std::int64_t alignment)
    : path_(path), temporary_(path + ".tmp-" + std::to_string(getpid())) {
  fd_ = open(temporary_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) fail("cannot be created", errno);
  try {
    create(alignment);
  } catch (...) {
    discard();
    throw;
  }
}

void OutputFile::create(std::int64_t alignment) {
  access_ = take(H5Pcreate(H5P_FILE_ACCESS), H5Pclose, "H5Pcreate");
  const std::int64_t threshold = alignment <= kPage ? 1 : std::min(alignment, kSmallDataset);
  require(H5Pset_alignment(access_.get(), static_cast<hsize_t>(threshold), static_cast<hsize_t>(alignment)),
          "H5Pset_alignment");
  // Compact groups (HDF5 1.8 and later read them): few small blocks for many small groups.
#if H5_VERSION_GE(1, 10, 2)
  require(H5Pset_libver_bounds(access_.get(), H5F_LIBVER_V18, H5F_LIBVER_LATEST), "H5Pset_libver_bounds");
#endif
#if H5_VERSION_GE(1, 14, 0) || (H5_VERSION_GE(1, 12, 1) && !H5_VERSION_GE(1, 13, 0)) || \
    (H5_VERSION_GE(1, 10, 7) && !H5_VERSION_GE(1, 11, 0))
  H5Pset_file_locking(access_.get(), false, true);  // nobody else knows the temporary name
#endif
  intermediate_ = take(H5Pcreate(H5P_LINK_CREATE), H5Pclose, "H5Pcreate");
  require(H5Pset_create_intermediate_group(intermediate_.get(), 1), "H5Pset_create_intermediate_group");
  file_ =
      take(H5Fcreate(temporary_.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, access_.get()), H5Fclose, "H5Fcreate");
}

OutputFile::~OutputFile() {
  if (!published_) discard();
}

void OutputFile::discard() {
  // On a full disk HDF5 cannot close before there is room again.
  if (fd_ >= 0 && ftruncate(fd_, 0) != 0) errno = 0;
  file_.reset();
  if (fd_ >= 0) close(fd_);
  unlink(temporary_.c_str());
}

hid_t OutputFile::file() {
  if (!file_) {
    fd_ = open(temporary_.c_str(), O_RDWR | O_CLOEXEC);
    if (fd_ < 0) fail("cannot be opened again", errno);
    file_ = take(H5Fopen(temporary_.c_str(), H5F_ACC_RDWR, access_.get()), H5Fclose, "H5Fopen");
  }
  return file_.get();
}

void OutputFile::suspend() {
  if (!file_) return;
  require(H5Fflush(file_.get(), H5F_SCOPE_LOCAL), "H5Fflush");
  require(file_.reset() ? 0 : -1, "H5Fclose");
  const int error = fsync(fd_) != 0 ? errno : 0;
  close(std::exchange(fd_, -1));
  if (error) fail("cannot be written", error);
}

void OutputFile::complete() {
  suspend();
}

void OutputFile::publish() {
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail("cannot be given its name", errno);
  published_ = true;
}

void OutputFile::withdraw() {
  if (published_) unlink(path_.c_str());
}

Handle OutputFile::open_object(const std::string& object) {
  return take(H5Oopen(file(), object.c_str(), H5P_DEFAULT), H5Oclose, "H5Oopen");
}

void OutputFile::set_string(const std::string& object, const char* name, const std::string& value) {
  const Handle owner = open_object(object);
  const Handle type = take(H5Tcopy(H5T_C_S1), H5Tclose, "H5Tcopy");
  require(H5Tset_size(type.get(), H5T_VARIABLE), "H5Tset_size");
  require(H5Tset_cset(type.get(), H5T_CSET_UTF8), "H5Tset_cset");
  const Handle space = take(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  const Handle attribute =
      take(H5Acreate2(owner.get(), name, type.get(), space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
           "H5Acreate2");
  const char* text = value.c_str();
  require(H5Awrite(attribute.get(), type.get(), &text), "H5Awrite");
}

void OutputFile::set_integers(const std::string& object, const char* name,
                              const std::vector<std::int64_t>& values) {
  const Handle owner = open_object(object);
  const hsize_t size = values.size();
  const Handle space = size == 1 ? take(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate")
                                 : take(H5Screate_simple(1, &size, nullptr), H5Sclose, "H5Screate_simple");
  const Handle attribute =
      take(H5Acreate2(owner.get(), name, H5T_STD_I64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
           "H5Acreate2");
  require(H5Awrite(attribute.get(), H5T_NATIVE_INT64, values.data()), "H5Awrite");
}

void OutputFile::set_checksum(const std::string& object, std::uint64_t value) {
  const Handle owner = open_object(object);
  const Handle space = take(H5Screate(H5S_SCALAR), H5Sclose, "H5Screate");
  const Handle attribute =
      take(H5Acreate2(owner.get(), "xxh3_64", H5T_STD_U64LE, space.get(), H5P_DEFAULT, H5P_DEFAULT), H5Aclose,
           "H5Acreate2");
  require(H5Awrite(attribute.get(), H5T_NATIVE_UINT64, &value), "H5Awrite");
}

void OutputFile::create_group(const std::string& object) {
  take(H5Gcreate2(file(), object.c_str(), intermediate_.get(), H5P_DEFAULT, H5P_DEFAULT), H5Gclose,
       "H5Gcreate2");
}

std::int64_t OutputFile::create_dataset(const std::string& object, NumberFormat format,
                                        const std::vector<std::int64_t>& shape) {
  const std::vector<hsize_t> extents(shape.begin(), shape.end());
  const Handle space = take(H5Screate_simple(static_cast<int>(extents.size()), extents.data(), nullptr),
                            H5Sclose, "H5Screate_simple");
  const Handle creation = take(H5Pcreate(H5P_DATASET_CREATE), H5Pclose, "H5Pcreate");
  require(H5Pset_layout(creation.get(), H5D_CONTIGUOUS), "H5Pset_layout");
  require(H5Pset_alloc_time(creation.get(), H5D_ALLOC_TIME_EARLY), "H5Pset_alloc_time");
  require(H5Pset_fill_time(creation.get(), H5D_FILL_TIME_NEVER), "H5Pset_fill_time");
  const Handle dataset = take(H5Dcreate2(file(), object.c_str(), stored_type(format), space.get(),
                                         intermediate_.get(), creation.get(), H5P_DEFAULT),
                              H5Dclose, "H5Dcreate2");
  const haddr_t offset = H5Dget_offset(dataset.get());
  require(offset == HADDR_UNDEF ? -1 : 0, "H5Dget_offset");
  return static_cast<std::int64_t>(offset);
}

void OutputFile::write_at(std::int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd_, bytes.data(), std::min(bytes.size(), kLargestWrite), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) fail("cannot be written", written < 0 ? errno : ENOSPC);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += written;
  }
}

void OutputFile::link_here(const std::string& object, const std::string& target) {
  require(H5Lcreate_soft(target.c_str(), file(), object.c_str(), intermediate_.get(), H5P_DEFAULT),
          "H5Lcreate_soft");
}

void OutputFile::link_to_file(const std::string& object, const std::string& name, const std::string& target) {
  require(H5Lcreate_external(name.c_str(), target.c_str(), file(), object.c_str(), intermediate_.get(),
                             H5P_DEFAULT),
          "H5Lcreate_external");
}

}  // namespace stagformer::internal
