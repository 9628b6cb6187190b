// Reading a binary header from front to back. Lengths are checked against the file before they are believed.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>

#include "import/source_file.hpp"

namespace stagformer::internal {

/// The prefix at hand ends before the header does; whoever reads the file must bring more of it.
struct PrefixTooShort {};

class ByteCursor {
 public:
  /// `prefix`: the first bytes of a file of `file_bytes` bytes. Both must outlive the cursor.
  ByteCursor(const std::string& file, std::span<const std::byte> prefix, std::int64_t file_bytes)
      : file_(file), prefix_(prefix), file_bytes_(static_cast<std::uint64_t>(file_bytes)) {}

  std::uint64_t position() const { return position_; }
  std::uint64_t left_in_file() const { return file_bytes_ - position_; }

  std::span<const std::byte> take(std::uint64_t size, const char* what) {
    if (size > left_in_file())
      refuse(std::string(what) + " needs " + std::to_string(size) + " bytes, the file has " +
             std::to_string(left_in_file()) + " more");
    if (size > prefix_.size() - position_) throw PrefixTooShort();
    const auto taken = prefix_.subspan(position_, size);
    position_ += size;
    return taken;
  }

  template <typename T>
  T number(const char* what) {
    static_assert(std::endian::native == std::endian::little, "numbers are read as they are stored");
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  /// A length of 64 bits, at most `longest`, and as many bytes.
  std::string_view text(const char* what, std::uint64_t longest) {
    const auto size = number<std::uint64_t>(what);
    if (size > longest)
      refuse(std::string(what) + " has " + std::to_string(size) + " bytes, at most " +
             std::to_string(longest) + " are possible");
    const auto bytes = take(size, what);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  /// What has been walked over since `begin`.
  std::span<const std::byte> since(std::uint64_t begin) const {
    return prefix_.subspan(begin, position_ - begin);
  }

  [[noreturn]] void refuse(const std::string& problem) const {
    refuse_source(file_, "damaged header at byte " + std::to_string(position_) + ": " + problem);
  }

 private:
  const std::string& file_;
  std::span<const std::byte> prefix_;
  std::uint64_t file_bytes_;
  std::uint64_t position_ = 0;  // never beyond the prefix, hence never beyond the file
};

}  // namespace stagformer::internal
