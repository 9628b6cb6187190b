// Values in a row of bytes: what ranks of one program tell each other, or compare by a digest.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/check.hpp"

namespace stagformer::internal {

class ByteWriter {
 public:
  template <typename Value>
  requires(std::is_trivially_copyable_v<Value>) ByteWriter& add(const Value& value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }
  ByteWriter& add(const std::string& text) {
    add(text.size());
    bytes_ += text;
    return *this;
  }
  template <typename Value>
  ByteWriter& add(const std::vector<Value>& values) {
    add(values.size());
    for (const Value& value : values) add(value);
    return *this;
  }
  /// Without their number: to be read until the end.
  template <typename Value>
  ByteWriter& add_all(const std::vector<Value>& values) {
    for (const Value& value : values) add(value);
    return *this;
  }
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

/// Reads what a ByteWriter of the same program wrote, in the same order; the bytes stay the caller's.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : bytes_(bytes) {}

  template <typename Value>
  requires(std::is_trivially_copyable_v<Value>) void take(Value& value) {
    std::memcpy(&value, next(sizeof value), sizeof value);
  }
  void take(std::string& text) {
    const auto size = taken<std::size_t>();
    text.assign(next(size), size);
  }
  template <typename Value>
  void take(std::vector<Value>& values) {
    values.resize(taken<std::size_t>());
    for (Value& value : values) take(value);
  }
  template <typename Value>
  Value taken() {
    Value value{};
    take(value);
    return value;
  }
  bool at_end() const { return bytes_.empty(); }

 private:
  const char* next(std::size_t count) {
    STAG_CHECK(count <= bytes_.size(), count, bytes_.size());
    const char* begin = bytes_.data();
    bytes_.remove_prefix(count);
    return begin;
  }
  std::string_view bytes_;
};

}  // namespace stagformer::internal
