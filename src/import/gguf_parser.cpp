// The structure of a GGUF header. Nothing is believed before it is checked against the file's size.
#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <string_view>

#include "import/byte_cursor.hpp"
#include "import/gguf_header.hpp"

namespace stagformer::internal {
namespace {

constexpr std::string_view kMagic = "GGUF";
constexpr std::int64_t kFirstPrefix = 16 << 20;
constexpr std::int64_t kLongestHeader = 512 << 20;
constexpr std::uint64_t kLongestName = 1 << 16;  // of keys and tensors
constexpr std::uint64_t kLongestText = 1 << 28;
constexpr std::uint64_t kMostPairs = 1 << 16, kMostTensors = 1 << 20;
constexpr std::uint64_t kLargestExtent = std::uint64_t{1} << 40;
constexpr std::int64_t kLargestAlignment = 1 << 20;
constexpr std::uint32_t kMostDimensions = 4;

/// Bytes of one value; of a string, those of its length.
constexpr std::array<std::uint64_t, 13> kValueBytes = {1, 1, 2, 2, 4, 4, 4, 1, 8, 0, 8, 8, 8};

struct KnownType {
  std::uint32_t number;
  const char* name;
  std::optional<TensorType> type;  ///< nothing: known by name only
};
constexpr std::array<KnownType, 17> kTensorTypes = {{{0, "F32", TensorType::f32},
                                                     {1, "F16", TensorType::f16},
                                                     {2, "Q4_0", TensorType::q4_0},
                                                     {3, "Q4_1", TensorType::q4_1},
                                                     {6, "Q5_0", {}},
                                                     {7, "Q5_1", {}},
                                                     {8, "Q8_0", TensorType::q8_0},
                                                     {9, "Q8_1", {}},
                                                     {10, "Q2_K", {}},
                                                     {11, "Q3_K", {}},
                                                     {12, "Q4_K", {}},
                                                     {13, "Q5_K", {}},
                                                     {14, "Q6_K", {}},
                                                     {15, "Q8_K", {}},
                                                     {20, "IQ4_NL", {}},
                                                     {23, "IQ4_XS", {}},
                                                     {30, "BF16", TensorType::bf16}}};

class GgufParser {
 public:
  GgufParser(const std::string& file, std::span<const std::byte> prefix, std::int64_t file_bytes)
      : file_(file), in_(file, prefix, file_bytes), file_bytes_(file_bytes) {
    header_.file = file;
  }

  /// Counts, then metadata, then tensors; only at the end is it known where the data begin.
  GgufHeader run() {
    read_version();
    const std::uint64_t tensors = read_count("tensors", kMostTensors);
    const std::uint64_t pairs = read_count("metadata entries", kMostPairs);
    for (std::uint64_t i = 0; i < pairs; ++i) read_pair();
    for (std::uint64_t i = 0; i < tensors; ++i) read_tensor();
    place_tensors();
    return std::move(header_);
  }

 private:
  void read_version() {
    const auto head = in_.take(kMagic.size(), "the magic word");
    if (!is_gguf(head)) in_.refuse("it does not begin with 'GGUF'");
    const auto version = in_.number<std::uint32_t>("the version");
    if (version == 0x02000000 || version == 0x03000000)
      refuse_source(file_, "is a big-endian GGUF file, which is not supported");
    if (version != 2 && version != 3)
      refuse_source(file_, "is GGUF version " + std::to_string(version) + ", only 2 and 3 are supported");
  }

  std::uint64_t read_count(const char* what, std::uint64_t most) {
    const auto count = in_.number<std::uint64_t>(what);
    if (count > most)
      in_.refuse(std::to_string(count) + " " + what + ", at most " + std::to_string(most) + " are possible");
    return count;
  }

  GgufType read_type(const std::string& key) {
    const auto number = in_.number<std::uint32_t>("a metadata type");
    if (number >= kValueBytes.size())
      in_.refuse("metadata '" + key + "' has the unknown type " + std::to_string(number));
    return static_cast<GgufType>(number);
  }

  void read_pair() {
    const std::string key(in_.text("a metadata key", kLongestName));
    GgufValue value;
    value.type = read_type(key);
    value.is_array = value.type == GgufType::array;
    if (value.is_array) {
      value.type = read_type(key);
      if (value.type == GgufType::array)
        refuse_source(file_, "metadata '" + key + "' is a list of lists, which is not supported");
      value.count = in_.number<std::uint64_t>("the length of a list");
    }
    value.bytes = read_values(key, value);
    if (!header_.metadata.emplace(key, value).second) in_.refuse("metadata '" + key + "' is there twice");
  }

  /// Walks over the values; texts are checked one by one, so that views of them are safe later on.
  std::span<const std::byte> read_values(const std::string& key, const GgufValue& value) {
    const std::uint64_t each = kValueBytes[static_cast<std::size_t>(value.type)];
    if (value.count > in_.left_in_file() / each)
      in_.refuse("the " + std::to_string(value.count) + " values of metadata '" + key +
                 "' do not fit into the file");
    const std::uint64_t begin = in_.position();
    if (value.type != GgufType::string) return in_.take(value.count * each, "a metadata value");
    for (std::uint64_t i = 0; i < value.count; ++i) in_.text("a metadata text", kLongestText);
    return in_.since(begin);
  }

  TensorType read_tensor_type(const std::string& name) {
    const auto number = in_.number<std::uint32_t>("a tensor's type");
    const auto known = std::ranges::find(kTensorTypes, number, &KnownType::number);
    if (known != kTensorTypes.end() && known->type) return *known->type;
    const std::string type = known != kTensorTypes.end() ? known->name : "number " + std::to_string(number);
    refuse_source(file_, "tensor '" + name + "' has type " + type +
                             ", which is not supported (F32, F16, BF16, Q8_0, Q4_0 and Q4_1 are)");
  }

  void read_tensor() {
    SourceTensor tensor;
    tensor.name = in_.text("a tensor's name", kLongestName);
    const auto dimensions = in_.number<std::uint32_t>("a tensor's number of dimensions");
    if (dimensions < 1 || dimensions > kMostDimensions)
      in_.refuse("tensor '" + tensor.name + "' has " + std::to_string(dimensions) + " dimensions");
    for (std::uint32_t i = 0; i < dimensions; ++i) read_extent(tensor);
    std::ranges::reverse(tensor.shape);
    tensor.type = read_tensor_type(tensor.name);
    const auto offset = in_.number<std::uint64_t>("a tensor's offset");
    if (offset > static_cast<std::uint64_t>(file_bytes_))
      in_.refuse("tensor '" + tensor.name + "' lies behind the end of the file");
    tensor.offset = static_cast<std::int64_t>(offset);  // from the begin of the data, for now
    tensor.bytes = values_before(tensor) * bytes_of_last(tensor);
    header_.tensors.push_back(std::move(tensor));
  }

  /// The product of all extents stays below 2^40, hence every count of bytes within 64 bits.
  void read_extent(SourceTensor& tensor) {
    const auto extent = in_.number<std::uint64_t>("a tensor's extent");
    const std::uint64_t so_far = static_cast<std::uint64_t>(values_of(tensor.shape));
    if (extent < 1 || extent > kLargestExtent / so_far)
      in_.refuse("tensor '" + tensor.name + "' has an impossible extent of " + std::to_string(extent));
    tensor.shape.push_back(static_cast<std::int64_t>(extent));
  }

  static std::int64_t values_of(std::span<const std::int64_t> shape) {
    std::int64_t values = 1;
    for (const std::int64_t extent : shape) values *= extent;
    return values;
  }
  static std::int64_t values_before(const SourceTensor& tensor) {
    return values_of(std::span(tensor.shape).first(tensor.shape.size() - 1));
  }
  std::int64_t bytes_of_last(const SourceTensor& tensor) const {
    if (is_block_type(tensor.type) && tensor.columns() % kBlockValues != 0)
      in_.refuse("tensor '" + tensor.name + "' is " + name_of(tensor.type) + ", but its rows have " +
                 std::to_string(tensor.columns()) + " values, no multiple of 32");
    return bytes_of_row(tensor.type, tensor.columns());
  }

  std::int64_t alignment() const {
    const std::int64_t alignment = header_.find_integer("general.alignment").value_or(32);
    const bool power = alignment > 0 && std::has_single_bit(static_cast<std::uint64_t>(alignment));
    if (!power || alignment > kLargestAlignment)
      header_.refuse_key("general.alignment",
                         "is " + std::to_string(alignment) + ", no power of two up to 2^20");
    return alignment;
  }

  /// Offsets in the file; every tensor inside of it, none over another.
  void place_tensors() {
    const std::int64_t unit = alignment();
    const std::int64_t begin = (static_cast<std::int64_t>(in_.position()) + unit - 1) / unit * unit;
    std::set<std::string_view> names;
    std::vector<const SourceTensor*> order;
    for (SourceTensor& tensor : header_.tensors) {
      if (tensor.offset % unit != 0)
        refuse_tensor(tensor, "is not aligned to " + std::to_string(unit) + " bytes");
      if (!names.insert(tensor.name).second) refuse_tensor(tensor, "is there twice");
      tensor.offset += begin;
      if (tensor.offset > file_bytes_ || tensor.bytes > file_bytes_ - tensor.offset)
        refuse_tensor(tensor, "needs the bytes up to " + std::to_string(tensor.offset + tensor.bytes) +
                                  ", the file has " + std::to_string(file_bytes_));
      order.push_back(&tensor);
    }
    std::ranges::sort(order, {}, &SourceTensor::offset);
    for (std::size_t i = 1; i < order.size(); ++i)
      if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset)
        refuse_tensor(*order[i], "lies over '" + order[i - 1]->name + "'");
  }

  [[noreturn]] void refuse_tensor(const SourceTensor& tensor, const std::string& problem) const {
    refuse_source(file_, "tensor '" + tensor.name + "' " + problem);
  }

  const std::string& file_;
  ByteCursor in_;
  std::int64_t file_bytes_;
  GgufHeader header_;
};

}  // namespace

bool is_gguf(std::span<const std::byte> head) {
  const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
  return text.starts_with(kMagic);
}

std::optional<GgufHeader> parse_gguf_header(const std::string& file, std::span<const std::byte> prefix,
                                            std::int64_t file_bytes) {
  try {
    return GgufParser(file, prefix, file_bytes).run();
  } catch (const PrefixTooShort&) {
    return std::nullopt;
  }
}

GgufHeader read_gguf_header(const SourceFile& file) {
  for (std::int64_t size = kFirstPrefix; size <= kLongestHeader; size *= 4) {
    std::vector<std::byte> bytes = file.prefix(std::min(size, file.bytes()));
    auto header = parse_gguf_header(file.path(), bytes, file.bytes());
    if (!header) continue;
    header->storage_ = std::move(bytes);  // moving leaves the bytes where the views point
    return std::move(*header);
  }
  refuse_source(file.path(), "the header is longer than 256 MiB");
}

}  // namespace stagformer::internal
