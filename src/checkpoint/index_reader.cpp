// read_checkpoint_index: the schema's tree and the file's groups are walked side by side, so that links of
// any kind are followed only where the configuration asks for something, and a loop of links cannot trap the
// reader.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "checkpoint/dataset_checks.hpp"
#include "checkpoint/hdf5_guard.hpp"
#include "checkpoint/hdf5_read.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/schema.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kFormatVersion = 1;
constexpr std::int64_t kFileHeadBytes = 64 << 10;
constexpr std::int64_t kDatasetHeadBytes = 4 << 10;
constexpr std::int64_t kLargestTokenizer = std::int64_t{1} << 30;
constexpr std::size_t kNamesInWarning = 5;

/// A file that datasets lie in; stands beside the index's entry for it.
struct KnownFile {
  std::string name;  // as HDF5 opened it
  dev_t device = 0;
  ino_t inode = 0;
};

class IndexReader {
 public:
  explicit IndexReader(const std::string& path) : opened_(open_read_only(path)) {
    index_.path = path;
    folder_ = std::filesystem::absolute(path).parent_path();
  }

  CheckpointIndex read() {
    file_index(root());
    read_root_attributes();
    read_tokenizer();
    const std::vector<DatasetRequest> schema = schema_of(index_.config);
    walk(schema_tree(schema), root(), "");
    add_warnings();
    return std::move(index_);
  }

 private:
  void read_root_attributes();
  void check_format();
  void read_tokenizer();
  void read_tokenizer_model(hid_t group);

  void walk(const SchemaNode& node, hid_t group, const std::string& prefix);
  void note_unexpected(const SchemaNode& node, const std::vector<std::string>& names,
                       const std::string& prefix, hid_t group);
  void visit(const SchemaNode& node, hid_t group, const std::string& name, const std::string& path);
  void read_dataset(hid_t dataset, const DatasetRequest& request);
  void locate(hid_t dataset, const DatasetRequest& request, DatasetInfo& info);

  int file_index(hid_t object);
  void add_file(KnownFile file, std::int64_t bytes);
  std::uint64_t hash_of(int file, std::int64_t offset, std::int64_t bytes) const;
  std::string where(hid_t object, const std::string& path) const {
    return file_name_of(object) + ": " + path;
  }
  void add_warnings();

  hid_t root() const { return opened_.file.get(); }

  ReadableFile opened_;
  std::filesystem::path folder_;  // of the root file, absolute
  CheckpointIndex index_;
  std::vector<KnownFile> known_;         // beside index_.files
  std::vector<std::string> unexpected_;  // objects nobody asked for
  std::int64_t without_checksum_ = 0;
};

void IndexReader::check_format() {
  const std::string& path = index_.path;
  const std::optional<std::string> format = string_attribute(root(), "format", path);
  if (!format && H5Lexists(root(), "layers", H5P_DEFAULT) > 0)
    throw CheckpointError(path +
                          ": holds one section of a checkpoint in several files; give the root file instead");
  if (!format)
    throw CheckpointError(path + ": is not a stagformer checkpoint (attribute 'format' is missing)");
  if (*format != "stagformer")
    throw CheckpointError(
        path + ": is not a stagformer checkpoint (attribute 'format': expected 'stagformer', found '" +
        *format + "')");
  const auto version = integer_attribute(root(), "format_version", path);
  if (!version) throw CheckpointError(path + ": attribute 'format_version' is missing");
  index_.format_version = version->front();
  const std::string found = std::to_string(index_.format_version);
  if (index_.format_version > kFormatVersion)
    throw CheckpointError(path + ": format version " + found + " is newer than this program reads (" +
                          std::to_string(kFormatVersion) + ")");
  if (index_.format_version < 1)
    throw CheckpointError(path + ": format version " + found + " does not exist");
}

void IndexReader::read_root_attributes() {
  check_format();
  const std::optional<std::string> config = string_attribute(root(), "config", index_.path);
  if (!config) throw CheckpointError(index_.path + ": attribute 'config' is missing");
  index_.config_json = *config;
  try {
    index_.config = ModelConfig::from_json(*config);
  } catch (const ConfigError& error) {
    throw ConfigError(index_.path + ": " + error.what());
  }
  index_.writer = string_attribute(root(), "writer", index_.path).value_or("");
  index_.created = string_attribute(root(), "created", index_.path).value_or("");
  index_.source = string_attribute(root(), "source", index_.path).value_or("");
}

void IndexReader::read_tokenizer() {
  if (H5Lexists(root(), "tokenizer", H5P_DEFAULT) <= 0) return;
  const Handle group = open_object(root(), "tokenizer", opened_.links, index_.path + ": tokenizer");
  if (H5Iget_type(group.get()) != H5I_GROUP)
    throw CheckpointError(index_.path, "tokenizer", "is not a group");
  const auto type = string_attribute(group.get(), "type", index_.path + ": tokenizer");
  if (!type) throw CheckpointError(index_.path, "tokenizer", "attribute 'type' is missing");
  if (*type != "byte" && *type != "sentencepiece" && *type != "huggingface")
    throw CheckpointError(index_.path, "tokenizer", "attribute 'type' has an unknown value",
                          "byte, sentencepiece or huggingface", *type);
  index_.tokenizer_type = *type;
  const auto text = [&](const char* name) {
    return string_attribute(group.get(), name, index_.path + ": tokenizer").value_or("");
  };
  index_.chat = {text("chat_template"), text("bos_token"), text("eos_token")};
  if (*type != "byte") read_tokenizer_model(group.get());
}

/// Small and read once, hence through HDF5 whatever its storage; the checksum is always verified.
void IndexReader::read_tokenizer_model(hid_t group) {
  const std::string name = "tokenizer/model", at = index_.path + ": " + name;
  if (H5Lexists(group, "model", H5P_DEFAULT) <= 0) throw CheckpointError(index_.path, name, "is missing");
  const Handle model = open_object(group, "model", opened_.links, at);
  if (H5Iget_type(model.get()) != H5I_DATASET) throw CheckpointError(index_.path, name, "is not a dataset");
  const Handle type = checked(H5Dget_type(model.get()), H5Tclose, at, "H5Dget_type");
  const std::vector<std::int64_t> extents = extents_of(model.get(), at);
  if (H5Tget_class(type.get()) != H5T_INTEGER || H5Tget_size(type.get()) != 1 || extents.size() != 1 ||
      extents[0] < 1 || extents[0] > kLargestTokenizer)
    throw CheckpointError(index_.path, name, "has the wrong type or shape", "uint8 [bytes]",
                          describe_type(type.get()) + " " + shape_text(extents));
  index_.tokenizer_model.resize(static_cast<std::size_t>(extents[0]));
  checked(H5Dread(model.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, index_.tokenizer_model.data()), at,
          "H5Dread");
  const auto checksum = checksum_attribute(model.get(), "xxh3_64", at);
  if (!checksum) ++without_checksum_;
  if (checksum && *checksum != XXH3_64bits(index_.tokenizer_model.data(), index_.tokenizer_model.size()))
    throw CheckpointError(index_.path, name, "wrong checksum: the bytes differ from those written");
}

/// `prefix` is the path of `group` from the root, without a slash at either end; empty for the root.
void IndexReader::walk(const SchemaNode& node, hid_t group, const std::string& prefix) {
  const std::vector<std::string> names = link_names(group, where(group, prefix.empty() ? "/" : prefix));
  note_unexpected(node, names, prefix, group);
  for (const auto& [name, child] : node.children) {
    const std::string path = prefix.empty() ? name : prefix + "/" + name;
    if (std::find(names.begin(), names.end(), name) != names.end()) {
      visit(child, group, name, path);
    } else if (const DatasetRequest* missing = child.first_required()) {
      throw CheckpointError(file_name_of(group), missing->name,
                            "is missing" + (missing->name == path ? "" : " (there is no '" + path + "')"));
    }
  }
}

void IndexReader::note_unexpected(const SchemaNode& node, const std::vector<std::string>& names,
                                  const std::string& prefix, hid_t group) {
  for (const std::string& name : names) {
    if (node.children.count(name) || (prefix.empty() && name == "tokenizer")) continue;
    const std::string path = prefix.empty() ? name : prefix + "/" + name;
    // Leaving out one of these would change every result without a word.
    if (name == "bias")
      throw CheckpointError(
          file_name_of(group), path,
          std::string("is a bias that the configuration does not ask for (attention_bias is ") +
              (index_.config.attention_bias ? "true, which gives q, k and v biases)" : "false)"));
    if (name == "q_norm" || name == "k_norm")
      throw CheckpointError(file_name_of(group), path,
                            "is a norm of heads that the configuration does not ask for (qk_norm is false)");
    unexpected_.push_back(path);
  }
}

/// One name that the schema has: a group to walk on in, or a dataset. The link that leads there may be of any
/// kind.
void IndexReader::visit(const SchemaNode& node, hid_t group, const std::string& name,
                        const std::string& path) {
  const Handle object = open_object(group, name, opened_.links, where(group, path));
  const bool is_dataset = H5Iget_type(object.get()) == H5I_DATASET;
  const bool is_group = H5Iget_type(object.get()) == H5I_GROUP;
  if (node.request ? !is_dataset : !is_group)
    throw CheckpointError(file_name_of(group), path, "is of the wrong kind",
                          node.request ? "a dataset" : "a group",
                          is_dataset ? "a dataset"
                          : is_group ? "a group"
                                     : "another object");
  if (node.request) return read_dataset(object.get(), *node.request);
  walk(node, object.get(), path);
}

void IndexReader::read_dataset(hid_t dataset, const DatasetRequest& request) {
  DatasetInfo info = describe_dataset(dataset, request);
  info.file = file_index(dataset);
  locate(dataset, request, info);
  info.checksum = checksum_attribute(dataset, "xxh3_64", where(dataset, request.name));
  if (!info.checksum) {
    ++without_checksum_;
    info.head_hash = hash_of(info.file, info.offset, std::min(info.bytes, kDatasetHeadBytes));
  }
  index_.datasets.emplace(request.name, std::move(info));
}

/// Where the bytes are, and whether the file reaches as far as that.
void IndexReader::locate(hid_t dataset, const DatasetRequest& request, DatasetInfo& info) {
  const std::string file = file_name_of(dataset);
  info.bytes = info.rows() * stored_row_bytes(info.format, info.columns());
  const haddr_t offset = H5Dget_offset(dataset);
  if (offset == HADDR_UNDEF)
    throw CheckpointError(file, request.name, "has no storage: it was created but never written");
  const std::int64_t size = index_.files[info.file].bytes;
  if (offset > static_cast<haddr_t>(size) || info.bytes > size - static_cast<std::int64_t>(offset))
    throw CheckpointError(
        file, request.name, "truncated: it reaches beyond the end of the file",
        "at least " + std::to_string(offset) + " + " + std::to_string(info.bytes) + " bytes",
        std::to_string(size) + " bytes");
  info.offset = static_cast<std::int64_t>(offset);
}

/// Number of the file that an object lies in, which is not the root file behind an external link.
int IndexReader::file_index(hid_t object) {
  const std::string name = file_name_of(object);
  for (std::size_t i = 0; i < known_.size(); ++i)
    if (known_[i].name == name) return static_cast<int>(i);
  struct stat status {};
  if (stat(name.c_str(), &status) != 0)
    throw CheckpointError(name + ": cannot be read: " + std::strerror(errno));
  // One file may be reached by two paths; the same object must get the same (file, offset).
  for (std::size_t i = 0; i < known_.size(); ++i)
    if (known_[i].device == status.st_dev && known_[i].inode == status.st_ino) return static_cast<int>(i);
  add_file({name, status.st_dev, status.st_ino}, status.st_size);
  return static_cast<int>(known_.size()) - 1;
}

void IndexReader::add_file(KnownFile file, std::int64_t bytes) {
  const std::filesystem::path path = std::filesystem::absolute(file.name);
  const std::filesystem::path relative = path.lexically_proximate(folder_);
  const bool beside_root = relative.begin() != relative.end() && *relative.begin() != "..";
  known_.push_back(std::move(file));
  const std::uint64_t head = hash_of(static_cast<int>(known_.size()) - 1, 0, std::min(bytes, kFileHeadBytes));
  index_.files.push_back({beside_root ? relative.string() : path.string(), bytes, head});
}

/// Files are opened for each hash alone: a checkpoint may have more of them than a process may hold open.
std::uint64_t IndexReader::hash_of(int file, std::int64_t offset, std::int64_t bytes) const {
  const std::string& name = known_[file].name;
  const int fd = open(name.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) throw CheckpointError(name + ": cannot be opened: " + std::strerror(errno));
  std::vector<std::byte> head(static_cast<std::size_t>(bytes));
  const ssize_t got = pread(fd, head.data(), head.size(), offset);
  const int reason = got < 0 ? errno : 0;
  close(fd);
  if (got != bytes)
    throw CheckpointError(name + ": cannot be read at byte " + std::to_string(offset) + ": " +
                          (reason ? std::strerror(reason) : "truncated"));
  return XXH3_64bits(head.data(), head.size());
}

void IndexReader::add_warnings() {
  if (without_checksum_ > 0)
    index_.warnings.push_back(
        index_.path + ": " + std::to_string(without_checksum_) +
        " datasets carry no checksum (attribute 'xxh3_64'); damage to them would go unnoticed");
  if (unexpected_.empty()) return;
  std::string names;
  for (std::size_t i = 0; i < std::min(unexpected_.size(), kNamesInWarning); ++i)
    names += (i ? ", " : "") + unexpected_[i];
  if (unexpected_.size() > kNamesInWarning) names += ", ...";
  index_.warnings.push_back(index_.path + ": ignores " + std::to_string(unexpected_.size()) +
                            " objects that the configuration does not ask for: " + names);
}

}  // namespace

CheckpointIndex read_checkpoint_index(const std::string& path) {
  const Hdf5Session session;
  const Hdf5Guard guard(path);
  return IndexReader(path).read();
}

}  // namespace stagformer::internal
