// A string of a template's world: its bytes, and which of them came from outside of the template (a message).
// What is outside keeps its mark through every operation, so that it is never read as a special token.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace stagformer::internal::jinja {

class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool foreign = false) : bytes_(std::move(bytes)) {
    if (foreign) foreign_.assign(bytes_.size(), true);
  }
  Text(const char* bytes) : bytes_(bytes) {}

  const std::string& bytes() const { return bytes_; }
  bool empty() const { return bytes_.empty(); }
  bool any_foreign() const { return !foreign_.empty(); }
  bool is_foreign(std::size_t byte) const { return !foreign_.empty() && foreign_[byte]; }
  /// [bytes], or nothing where no byte is.
  const std::vector<bool>& foreign() const { return foreign_; }

  /// A result of the filter `safe`, which prints as any text does; Python joins and quotes it otherwise.
  bool is_safe() const { return safe_; }
  Text made_safe() const {
    Text text = *this;
    text.safe_ = true;
    return text;
  }

  Text& operator+=(const Text& other);
  /// Bytes [begin, end).
  Text part(std::size_t begin, std::size_t end) const;
  /// The same marks on other bytes, as many as before.
  Text with_bytes(std::string bytes) const;

  friend bool operator==(const Text& a, const Text& b) { return a.bytes_ == b.bytes_; }
  friend bool operator<(const Text& a, const Text& b) { return a.bytes_ < b.bytes_; }

 private:
  std::string bytes_;          // valid UTF-8
  std::vector<bool> foreign_;  // by byte; empty: none is
  bool safe_ = false;
};

/// Where characters begin, then the number of bytes: one entry more than the text has characters.
std::vector<std::size_t> character_starts(std::string_view text);

enum class Side { left, right, both };
/// Python's strip(): white space, or any of the characters of `set`.
Text strip(const Text& text, Side side, const std::string* set = nullptr);
/// Python's split(separator, most); most < 0: all.
std::vector<Text> split(const Text& text, const std::string& separator, std::int64_t most);
/// Python's split() at runs of white space.
std::vector<Text> split_words(const Text& text);
/// Python's replace(); `from` must not be empty. most < 0: all.
Text replace(const Text& text, const std::string& from, const Text& to, std::int64_t most);

}  // namespace stagformer::internal::jinja
