// A GGUF header byte by byte, right or wrong.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace stagformer::internal::test {

class Bytes {
 public:
  template <typename T>
  Bytes& number(T value) {
    char bytes[sizeof value];
    std::memcpy(bytes, &value, sizeof value);
    return raw({bytes, sizeof value});
  }
  Bytes& raw(const std::string& text) {
    bytes_ += text;
    return *this;
  }
  Bytes& text(const std::string& value) { return number<std::uint64_t>(value.size()).raw(value); }
  Bytes& zeros(std::size_t count) { return raw(std::string(count, '\0')); }
  Bytes& pad(std::size_t alignment) { return zeros((alignment - bytes_.size() % alignment) % alignment); }
  std::vector<std::byte> get() const {
    const auto bytes = std::as_bytes(std::span(bytes_));
    return {bytes.begin(), bytes.end()};
  }

 private:
  std::string bytes_;
};

/// Magic, version, number of tensors, number of metadata entries.
inline Bytes gguf_start(std::uint64_t tensors, std::uint64_t pairs, std::uint32_t version = 3) {
  return Bytes().raw("GGUF").number(version).number(tensors).number(pairs);
}

/// A tensor of two dimensions as the file lists it: the inner one first.
inline Bytes& add_tensor(Bytes& out, const std::string& name, std::uint64_t columns, std::uint64_t rows,
                         std::uint32_t type, std::uint64_t offset) {
  return out.text(name).number<std::uint32_t>(2).number(columns).number(rows).number(type).number(offset);
}

/// Metadata of every kind, two tensors (f32 2 x 4 and q8_0 1 x 32) and their data.
inline Bytes good_gguf() {
  Bytes out = gguf_start(2, 5);
  out.text("general.architecture").number<std::uint32_t>(8).text("llama");
  out.text("llama.block_count").number<std::uint32_t>(4).number<std::uint32_t>(7);
  out.text("llama.attention.layer_norm_rms_epsilon").number<std::uint32_t>(6).number(1e-5F);
  out.text("words")
      .number<std::uint32_t>(9)
      .number<std::uint32_t>(8)
      .number<std::uint64_t>(2)
      .text("one")
      .text("");
  out.text("scores").number<std::uint32_t>(9).number<std::uint32_t>(6).number<std::uint64_t>(2);
  out.number(0.5F).number(-2.0F);
  add_tensor(out, "first", 4, 2, 0, 0);
  add_tensor(out, "second", 32, 1, 8, 32);
  return out.pad(32).zeros(32 + 34);
}

}  // namespace stagformer::internal::test
