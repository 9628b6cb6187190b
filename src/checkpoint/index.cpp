// The index as bytes, for the broadcast, and its digest.
#include "checkpoint/index.hpp"

#include <xxhash.h>

#include <cstring>
#include <filesystem>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

/// Both start with the format's version, so that a changed layout is never taken for the old one.
constexpr std::uint64_t kSerialMagic = 0x3178646e69677473;  // "stgindx1"

/// Numbers in the host's byte order: an index travels between ranks of one job, never through a file.
class ByteWriter {
 public:
  template <typename T>
  void number(T value) {
    static_assert(std::is_arithmetic_v<T>);
    append(&value, sizeof(value));
  }
  void bytes(const void* data, std::size_t size) {
    number<std::uint64_t>(size);
    append(data, size);
  }
  void text(const std::string& value) { bytes(value.data(), value.size()); }
  std::vector<std::byte> take() { return std::move(out_); }

 private:
  void append(const void* data, std::size_t size) {
    const auto* first = static_cast<const std::byte*>(data);
    out_.insert(out_.end(), first, first + size);
  }
  std::vector<std::byte> out_;
};

[[noreturn]] void damaged(const char* what) {
  throw CheckpointError(std::string("checkpoint index: damaged in transfer (") + what + ")");
}

/// Every length is checked against what is left before anything is allocated.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  /// A number of items of at least `item_bytes` each.
  std::size_t count(std::size_t item_bytes) {
    const auto value = number<std::uint64_t>();
    if (value > rest_.size() / item_bytes) damaged("a count is too large");
    return static_cast<std::size_t>(value);
  }
  std::span<const std::byte> bytes() { return take(count(1)); }
  std::string text() {
    const std::span<const std::byte> found = bytes();
    return {reinterpret_cast<const char*>(found.data()), found.size()};
  }
  void finish() const {
    if (!rest_.empty()) damaged("bytes are left over");
  }

 private:
  std::span<const std::byte> take(std::size_t size) {
    if (size > rest_.size()) damaged("too short");
    const std::span<const std::byte> taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }
  std::span<const std::byte> rest_;
};

void write_dataset(ByteWriter& out, const std::string& name, const DatasetInfo& info) {
  out.text(name);
  out.number<std::int32_t>(info.file);
  out.number(info.offset);
  out.number(info.bytes);
  out.number(static_cast<std::uint8_t>(info.format));
  out.bytes(info.shape.data(), info.shape.size() * sizeof(std::int64_t));
  out.number<std::uint8_t>(info.checksum.has_value());
  out.number(info.checksum.value_or(0));
  out.number(info.head_hash);
}

/// What the reader of tensors relies on when it computes offsets and sizes.
void check_dataset(const DatasetInfo& info, const std::vector<FileInfo>& files) {
  if (info.file < 0 || static_cast<std::size_t>(info.file) >= files.size()) damaged("a dataset's file");
  if (static_cast<std::uint8_t>(info.format) > static_cast<std::uint8_t>(NumberFormat::q4_1))
    damaged("a format");
  if (info.shape.empty() || info.shape.size() > 2) damaged("a shape");
  for (std::int64_t extent : info.shape)
    if (extent < 1 || extent > std::int64_t{1} << 40) damaged("an extent");
  const std::int64_t size = files[info.file].bytes;
  if (info.bytes < 0 || info.offset < 0 || info.offset > size || info.bytes > size - info.offset)
    damaged("an offset");
}

DatasetInfo read_dataset(ByteReader& in, const std::vector<FileInfo>& files) {
  DatasetInfo info;
  info.file = in.number<std::int32_t>();
  info.offset = in.number<std::int64_t>();
  info.bytes = in.number<std::int64_t>();
  info.format = static_cast<NumberFormat>(in.number<std::uint8_t>());
  const std::span<const std::byte> shape = in.bytes();
  if (shape.size() % sizeof(std::int64_t) != 0) damaged("a shape");
  info.shape.resize(shape.size() / sizeof(std::int64_t));
  if (!shape.empty()) std::memcpy(info.shape.data(), shape.data(), shape.size());
  const bool has_checksum = in.number<std::uint8_t>() != 0;
  const auto checksum = in.number<std::uint64_t>();
  if (has_checksum) info.checksum = checksum;
  info.head_hash = in.number<std::uint64_t>();
  check_dataset(info, files);
  return info;
}

std::vector<FileInfo> read_files(ByteReader& in) {
  std::vector<FileInfo> files(in.count(24));
  for (FileInfo& file : files) {
    file.name = in.text();
    file.bytes = in.number<std::int64_t>();
    file.head_hash = in.number<std::uint64_t>();
  }
  if (files.empty()) damaged("no files");
  return files;
}

}  // namespace

std::uint64_t CheckpointIndex::digest() const {
  ByteWriter content;
  content.text(config_json);
  content.text(tokenizer_type);
  content.bytes(tokenizer_model.data(), tokenizer_model.size());
  if (!chat.chat_template.empty())
    for (const std::string* text : {&chat.chat_template, &chat.bos_token, &chat.eos_token})
      content.text(*text);
  // Neither files nor offsets: the same weights give the same digest however they are laid out.
  for (const auto& [name, info] : datasets) {
    content.text(name);
    content.number(static_cast<std::uint8_t>(info.format));
    content.bytes(info.shape.data(), info.shape.size() * sizeof(std::int64_t));
    content.number<std::uint8_t>(info.checksum.has_value());
    content.number(info.checksum.value_or(info.head_hash));
  }
  const std::vector<std::byte> bytes = content.take();
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::vector<std::byte> CheckpointIndex::serialize() const {
  ByteWriter out;
  out.number(kSerialMagic);
  out.number(format_version);
  for (const std::string* text : {&path, &writer, &created, &source, &config_json, &tokenizer_type,
                                  &chat.chat_template, &chat.bos_token, &chat.eos_token})
    out.text(*text);
  out.bytes(tokenizer_model.data(), tokenizer_model.size());
  out.number<std::uint64_t>(files.size());
  for (const FileInfo& file : files) {
    out.text(file.name);
    out.number(file.bytes);
    out.number(file.head_hash);
  }
  out.number<std::uint64_t>(datasets.size());
  for (const auto& [name, info] : datasets) write_dataset(out, name, info);
  out.number<std::uint64_t>(warnings.size());
  for (const std::string& warning : warnings) out.text(warning);
  return out.take();
}

CheckpointIndex CheckpointIndex::deserialize(std::span<const std::byte> bytes) {
  ByteReader in(bytes);
  if (in.number<std::uint64_t>() != kSerialMagic) damaged("not an index");
  CheckpointIndex index;
  index.format_version = in.number<std::int64_t>();
  for (std::string* text :
       {&index.path, &index.writer, &index.created, &index.source, &index.config_json, &index.tokenizer_type,
        &index.chat.chat_template, &index.chat.bos_token, &index.chat.eos_token})
    *text = in.text();
  index.config = ModelConfig::from_json(index.config_json);
  const std::span<const std::byte> model = in.bytes();
  index.tokenizer_model.assign(model.begin(), model.end());
  index.files = read_files(in);
  for (std::size_t left = in.count(54); left > 0; --left) {
    std::string name = in.text();
    index.datasets.emplace(std::move(name), read_dataset(in, index.files));
  }
  for (std::size_t left = in.count(8); left > 0; --left) index.warnings.push_back(in.text());
  in.finish();
  return index;
}

std::string path_of_file(const CheckpointIndex& index, int file) {
  if (file == 0) return index.path;
  return (std::filesystem::path(index.path).parent_path() / index.files[file].name).string();
}

}  // namespace stagformer::internal
