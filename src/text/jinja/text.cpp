#include "text/jinja/text.hpp"

#include <algorithm>

#include "text/jinja/limits.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal::jinja {
namespace {

/// What Python takes for white space.
bool is_space(char32_t c) {
  return (c >= 0x9 && c <= 0xD) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

/// Asks about single characters of a text.
class Stripper {
 public:
  Stripper(const std::string& text, const std::string* set) : text_(text), set_(set) {}
  bool goes(std::size_t begin, std::size_t end) const {
    const std::string_view character = std::string_view(text_).substr(begin, end - begin);
    return set_ ? set_->find(character) != std::string::npos : is_space(scan_utf8(character).code_point);
  }

 private:
  const std::string& text_;
  const std::string* set_;
};

}  // namespace

Text& Text::operator+=(const Text& other) {
  if (other.bytes_.size() > kLongestText - std::min(kLongestText, bytes_.size())) fail("a text is too long");
  safe_ = false;
  if (any_foreign() || other.any_foreign()) {
    foreign_.resize(bytes_.size());
    foreign_.insert(foreign_.end(), other.foreign_.begin(), other.foreign_.end());
    foreign_.resize(bytes_.size() + other.bytes_.size());
  }
  bytes_ += other.bytes_;
  return *this;
}

Text Text::part(std::size_t begin, std::size_t end) const {
  Text out(bytes_.substr(begin, end - begin));
  if (any_foreign())
    out.foreign_.assign(foreign_.begin() + static_cast<std::ptrdiff_t>(begin),
                        foreign_.begin() + static_cast<std::ptrdiff_t>(end));
  return out;
}

Text Text::with_bytes(std::string bytes) const {
  Text out(std::move(bytes));
  out.foreign_ = foreign_;
  return out;
}

std::vector<std::size_t> character_starts(std::string_view text) {
  std::vector<std::size_t> starts;
  for (std::size_t at = 0; at < text.size(); ++at)
    if ((static_cast<unsigned char>(text[at]) & 0xC0) != 0x80) starts.push_back(at);
  starts.push_back(text.size());
  return starts;
}

Text strip(const Text& text, Side side, const std::string* set) {
  const std::vector<std::size_t> starts = character_starts(text.bytes());
  const Stripper stripper(text.bytes(), set);
  std::size_t first = 0, last = starts.size() - 1;  // characters [first, last) stay
  if (side != Side::right)
    while (first < last && stripper.goes(starts[first], starts[first + 1])) ++first;
  if (side != Side::left)
    while (last > first && stripper.goes(starts[last - 1], starts[last])) --last;
  return text.part(starts[first], starts[last]);
}

std::vector<Text> split(const Text& text, const std::string& separator, std::int64_t most) {
  std::vector<Text> parts;
  std::size_t done = 0;
  while (most < 0 || static_cast<std::int64_t>(parts.size()) < most) {
    const std::size_t found = text.bytes().find(separator, done);
    if (found == std::string::npos) break;
    parts.push_back(text.part(done, found));
    if (parts.size() > kMostItems) fail("a text has too many parts");
    done = found + separator.size();
  }
  parts.push_back(text.part(done, text.bytes().size()));
  return parts;
}

std::vector<Text> split_words(const Text& text) {
  const std::vector<std::size_t> starts = character_starts(text.bytes());
  const Stripper stripper(text.bytes(), nullptr);
  std::vector<Text> words;
  for (std::size_t at = 0; at + 1 < starts.size();) {
    std::size_t end = at;
    while (end + 1 < starts.size() && !stripper.goes(starts[end], starts[end + 1])) ++end;
    if (end > at) words.push_back(text.part(starts[at], starts[end]));
    if (words.size() > kMostItems) fail("a text has too many words");
    at = std::max(end, at + 1);
  }
  return words;
}

Text replace(const Text& text, const std::string& from, const Text& to, std::int64_t most) {
  Text out;
  std::size_t done = 0;
  for (std::int64_t times = 0; most < 0 || times < most; ++times) {
    const std::size_t found = text.bytes().find(from, done);
    if (found == std::string::npos) break;
    out += text.part(done, found);
    out += to;
    done = found + from.size();
  }
  out += text.part(done, text.bytes().size());
  return out;
}

}  // namespace stagformer::internal::jinja
