// The header of a GGUF file, versions 2 and 3: metadata and the list of tensors. Nothing is copied: values
// are views of the header's bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "import/source.hpp"

namespace stagformer::internal {

enum class GgufType : std::uint32_t {
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  f32,
  boolean,
  string,
  array,
  u64,
  i64,
  f64
};

/// One value of the metadata; its bytes have been found whole.
struct GgufValue {
  GgufType type = GgufType::u8;  ///< of the elements of an array
  bool is_array = false;
  std::uint64_t count = 1;
  std::span<const std::byte> bytes;  ///< strings with their lengths in front
};

class GgufHeader {
 public:
  /// The value as the wanted kind, or nothing where the key is missing; another kind is a CheckpointError.
  std::optional<std::int64_t> find_integer(const std::string& key) const;
  std::optional<double> find_number(const std::string& key) const;  ///< f32 widened by its shortest decimal
  std::optional<bool> find_boolean(const std::string& key) const;
  std::optional<std::string> find_text(const std::string& key) const;
  std::optional<std::vector<std::string_view>> find_texts(const std::string& key) const;
  /// A list of `count` numbers of any type.
  std::optional<std::vector<double>> find_numbers(const std::string& key, std::size_t count) const;
  // The same for keys that must be there.
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;
  std::string text(const std::string& key) const;

  [[noreturn]] void refuse_key(const std::string& key, const std::string& problem) const;

  std::string file;
  std::map<std::string, GgufValue> metadata;
  std::vector<SourceTensor> tensors;  ///< offsets count from the file's begin, shapes are [out, in]

 private:
  friend GgufHeader read_gguf_header(const SourceFile&);
  const GgufValue* find(const std::string& key) const;
  const GgufValue* find_single(const std::string& key, const char* wanted) const;
  template <typename Value>
  Value required(const std::string& key, std::optional<Value> value) const;

  std::vector<std::byte> storage_;  ///< what the views point into, where this object owns it
};

bool is_gguf(std::span<const std::byte> head);

/// `prefix`: the first bytes of a file of `file_bytes` bytes; must outlive the result. Nothing is returned
/// where the header is longer than the prefix. Counts, lengths, offsets and overlaps are checked against the
/// file's size before anything is allocated; CheckpointError says what is wrong and where.
std::optional<GgufHeader> parse_gguf_header(const std::string& file, std::span<const std::byte> prefix,
                                            std::int64_t file_bytes);

GgufHeader read_gguf_header(const SourceFile& file);

}  // namespace stagformer::internal
