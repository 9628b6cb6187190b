#include "import/safetensors.hpp"

#include <algorithm>

#include "import/byte_cursor.hpp"
#include "import/json_file.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr int kDeepest = 4;
constexpr std::size_t kMostDimensions = 8;
constexpr std::int64_t kLargestExtent = std::int64_t{1} << 40;

class TensorEntry {
 public:
  /// `data`: where the data begin in the file, and how many bytes they have.
  TensorEntry(const std::string& file, const std::string& name, const json& entry)
      : file_(file), fields_(file, entry, name + ".") {
    tensor_.name = name;
  }

  SourceTensor read(std::int64_t data_begin, std::int64_t data_bytes) {
    tensor_.type = type();
    read_shape();
    const std::vector<std::int64_t> ends = integers("data_offsets");
    if (ends.size() != 2 || ends[0] < 0 || ends[1] < ends[0] || ends[1] > data_bytes)
      fields_.refuse("data_offsets",
                     "do not lie in the file's " + std::to_string(data_bytes) + " bytes of data");
    tensor_.offset = data_begin + ends[0];
    tensor_.bytes = ends[1] - ends[0];
    const std::int64_t needed = tensor_.type == TensorType::f32 ? 4 : 2;
    if (tensor_.bytes != values_ * needed)
      fields_.refuse("data_offsets", "give " + std::to_string(tensor_.bytes) + " bytes, the shape needs " +
                                         std::to_string(values_ * needed));
    return tensor_;
  }

 private:
  TensorType type() const {
    const std::string type = fields_.find_text("dtype").value_or("missing");
    if (type == "F32") return TensorType::f32;
    if (type == "F16") return TensorType::f16;
    if (type == "BF16") return TensorType::bf16;
    refuse_source(file_, "tensor '" + tensor_.name + "' has type " + type +
                             ", which is not supported (F32, F16 and BF16 are)");
  }

  void read_shape() {
    tensor_.shape = integers("shape");
    if (tensor_.shape.empty() || tensor_.shape.size() > kMostDimensions)
      fields_.refuse("shape", "has " + std::to_string(tensor_.shape.size()) + " dimensions");
    for (const std::int64_t extent : tensor_.shape) {
      if (extent < 1 || extent > kLargestExtent / values_)
        fields_.refuse("shape", "has an impossible extent of " + std::to_string(extent));
      values_ *= extent;
    }
  }

  std::vector<std::int64_t> integers(const char* key) const {
    const json* list = fields_.find(key);
    if (!list || !list->is_array()) fields_.refuse(key, "is no list");
    std::vector<std::int64_t> values;
    for (const json& each : *list) {
      if (!each.is_number_integer()) fields_.refuse(key, "is no list of integers");
      values.push_back(each.is_number_unsigned() && each.get<std::uint64_t>() > std::uint64_t{1} << 62
                           ? -1
                           : each.get<std::int64_t>());
    }
    return values;
  }

  const std::string& file_;
  JsonFields fields_;
  SourceTensor tensor_;
  std::int64_t values_ = 1;
};

/// One behind the other, from the begin of the data to the end of the file.
void check_cover(const std::string& file, const std::vector<SourceTensor>& tensors, std::int64_t begin,
                 std::int64_t end) {
  std::vector<const SourceTensor*> order;
  for (const SourceTensor& tensor : tensors) order.push_back(&tensor);
  std::ranges::sort(order, {}, &SourceTensor::offset);
  for (const SourceTensor* tensor : order) {
    if (tensor->offset != begin)
      refuse_source(file,
                    "tensor '" + tensor->name + "' " +
                        (tensor->offset < begin ? "lies over another one" : "has a gap in front of it"));
    begin += tensor->bytes;
  }
  if (begin != end)
    refuse_source(file, std::to_string(end - begin) + " bytes at the end belong to no tensor");
}

}  // namespace

std::optional<std::vector<SourceTensor>> parse_safetensors_header(const std::string& file,
                                                                  std::span<const std::byte> prefix,
                                                                  std::int64_t file_bytes) {
  std::vector<SourceTensor> tensors;
  try {
    ByteCursor in(file, prefix, file_bytes);
    const std::string_view text = in.text("the JSON header", kLongestHeader);
    const json header = parse_json_object(file, std::as_bytes(std::span(text)), kDeepest);
    const auto begin = static_cast<std::int64_t>(in.position());
    for (const auto& [name, entry] : header.items())
      if (name != "__metadata__")
        tensors.push_back(TensorEntry(file, name, entry).read(begin, file_bytes - begin));
    check_cover(file, tensors, begin, file_bytes);
  } catch (const PrefixTooShort&) {
    return std::nullopt;
  }
  return tensors;
}

// The header is at most as long as `longest`, so the last prefix is enough.
std::vector<SourceTensor> read_safetensors_header(const SourceFile& file) {
  const std::int64_t longest = static_cast<std::int64_t>(kLongestHeader) + 8;
  for (std::int64_t size = 1 << 20;; size *= 4) {
    const std::int64_t bytes = std::min({size, longest, file.bytes()});
    if (auto tensors = parse_safetensors_header(file.path(), file.prefix(bytes), file.bytes()))
      return std::move(*tensors);
  }
}

}  // namespace stagformer::internal
