// Metadata of a GGUF file as the kinds of values that a reader asks for.
#include "import/gguf_header.hpp"

#include <charconv>
#include <cstring>
#include <limits>

namespace stagformer::internal {
namespace {

template <typename T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// A float's value as the double that its shortest decimal means: 1e-5 rather than 9.999999747378752e-06.
double widened(float value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  double wide = value;
  std::from_chars(text, end, wide);
  return wide;
}

std::optional<std::int64_t> integer_of(GgufType type, const std::byte* from) {
  switch (type) {
    case GgufType::u8:
      return load<std::uint8_t>(from);
    case GgufType::i8:
      return load<std::int8_t>(from);
    case GgufType::u16:
      return load<std::uint16_t>(from);
    case GgufType::i16:
      return load<std::int16_t>(from);
    case GgufType::u32:
      return load<std::uint32_t>(from);
    case GgufType::i32:
      return load<std::int32_t>(from);
    case GgufType::i64:
      return load<std::int64_t>(from);
    case GgufType::u64: {
      const auto value = load<std::uint64_t>(from);
      if (value > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
      return static_cast<std::int64_t>(value);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> number_of(GgufType type, const std::byte* from) {
  if (type == GgufType::f32) return widened(load<float>(from));
  if (type == GgufType::f64) return load<double>(from);
  const auto integer = integer_of(type, from);
  return integer ? std::optional<double>(static_cast<double>(*integer)) : std::nullopt;
}

/// Lengths have been checked when the header was parsed.
std::string_view text_of(const std::byte* from) {
  return {reinterpret_cast<const char*>(from + 8), load<std::uint64_t>(from)};
}

}  // namespace

void GgufHeader::refuse_key(const std::string& key, const std::string& problem) const {
  refuse_source(file, "metadata '" + key + "' " + problem);
}

const GgufValue* GgufHeader::find(const std::string& key) const {
  const auto found = metadata.find(key);
  return found == metadata.end() ? nullptr : &found->second;
}

const GgufValue* GgufHeader::find_single(const std::string& key, const char* wanted) const {
  const GgufValue* value = find(key);
  if (value && value->is_array) refuse_key(key, std::string("is a list, expected ") + wanted);
  return value;
}

std::optional<std::int64_t> GgufHeader::find_integer(const std::string& key) const {
  const GgufValue* value = find_single(key, "an integer");
  if (!value) return std::nullopt;
  const auto integer = integer_of(value->type, value->bytes.data());
  if (!integer) refuse_key(key, "is no integer");
  return integer;
}

std::optional<double> GgufHeader::find_number(const std::string& key) const {
  const GgufValue* value = find_single(key, "a number");
  if (!value) return std::nullopt;
  const auto number = number_of(value->type, value->bytes.data());
  if (!number || !(*number - *number == 0)) refuse_key(key, "is no finite number");
  return number;
}

std::optional<bool> GgufHeader::find_boolean(const std::string& key) const {
  const GgufValue* value = find_single(key, "true or false");
  if (!value) return std::nullopt;
  if (value->type != GgufType::boolean) refuse_key(key, "is neither true nor false");
  return value->bytes[0] != std::byte{0};
}

std::optional<std::string> GgufHeader::find_text(const std::string& key) const {
  const GgufValue* value = find_single(key, "a text");
  if (!value) return std::nullopt;
  if (value->type != GgufType::string) refuse_key(key, "is no text");
  return std::string(text_of(value->bytes.data()));
}

std::optional<std::vector<std::string_view>> GgufHeader::find_texts(const std::string& key) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_array || value->type != GgufType::string) refuse_key(key, "is no list of texts");
  std::vector<std::string_view> texts;
  texts.reserve(value->count);
  const std::byte* at = value->bytes.data();
  for (std::uint64_t i = 0; i < value->count; ++i) {
    texts.push_back(text_of(at));
    at += 8 + texts.back().size();
  }
  return texts;
}

std::optional<std::vector<double>> GgufHeader::find_numbers(const std::string& key, std::size_t count) const {
  const GgufValue* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_array || value->type == GgufType::string) refuse_key(key, "is no list of numbers");
  if (value->count != count)
    refuse_key(key, "has " + std::to_string(value->count) + " values, expected " + std::to_string(count));
  std::vector<double> numbers;
  const std::size_t each = count > 0 ? value->bytes.size() / count : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto number = number_of(value->type, value->bytes.data() + i * each);
    if (!number) refuse_key(key, "is no list of numbers");
    numbers.push_back(*number);
  }
  return numbers;
}

template <typename Value>
Value GgufHeader::required(const std::string& key, std::optional<Value> value) const {
  if (!value) refuse_key(key, "is missing");
  return std::move(*value);
}

std::int64_t GgufHeader::integer(const std::string& key) const {
  return required(key, find_integer(key));
}

double GgufHeader::number(const std::string& key) const {
  return required(key, find_number(key));
}

std::string GgufHeader::text(const std::string& key) const {
  return required(key, find_text(key));
}

}  // namespace stagformer::internal
