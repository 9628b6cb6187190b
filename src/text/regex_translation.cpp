// Oniguruma (Ruby syntax, UTF-8) to PCRE2 (UTF, UCP). The two agree on what tokenizers use, but for the
// members of \s and \w; whatever else they read differently is refused rather than guessed.
#include "stagformer/error.hpp"
#include "text/regex.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

// The property White_Space. PCRE2's own \s has U+180E besides.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kWordCharacters = R"(\p{L}\p{M}\p{Nd}\p{Pc})";

class Translation {
 public:
  Translation(std::string_view pattern, const std::string& where) : pattern_(pattern), where_(where) {}

  std::string run() {
    while (at_ < pattern_.size()) step();
    return out_;
  }

 private:
  char peek(std::size_t ahead) const { return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0'; }
  void copy(std::size_t bytes) {
    out_ += pattern_.substr(at_, bytes);
    at_ += bytes;
  }

  void step() {
    if (peek(0) == '\\') return escape();
    if (in_class_) return class_character();
    if (peek(0) == '(' && peek(1) == '?') check_group();
    if (peek(0) == '}' && peek(1) == '+') refuse("}+");
    if (peek(0) != '[') return copy(1);
    in_class_ = true;
    copy(peek(1) == '^' ? 2 : 1);
    if (peek(0) == ']') refuse("[]");
  }

  void class_character() {
    if (peek(0) == '[' && peek(1) == ':') return copy_through(":]");
    if (peek(0) == '[') refuse("[[");
    if (peek(0) == '&' && peek(1) == '&') refuse("&&");
    if (peek(0) == ']') in_class_ = false;
    copy(1);
  }

  void escape() {
    switch (peek(1)) {
      case 's':
        return set(kSpaces, "[");
      case 'S':
        return set(kSpaces, "[^");
      case 'w':
        return set(kWordCharacters, "[");
      case 'W':
        return set(kWordCharacters, "[^");
      case 'h':
      case 'H':
      case 'Q':
      case 'E':
        refuse(std::string(pattern_.substr(at_, 2)));
      case 'p':
      case 'P':
      case 'x':
        return peek(2) == '{' ? copy_through("}") : copy(2);
      default:
        copy(2);
    }
  }

  void set(std::string_view members, std::string_view open) {
    if (in_class_ && open == "[^") return copy(2);  // no way to write it inside a class; PCRE2's own will do
    out_ += in_class_ ? std::string(members) : std::string(open) + std::string(members) + "]";
    at_ += 2;
  }

  /// (?m) is Ruby's dot-matches-all and PCRE2's line mode; (?s) exists in one of the two only.
  void check_group() const {
    for (std::size_t i = 2;
         std::string_view("imsx-").find(peek(i)) != std::string_view::npos && peek(i) != '\0'; ++i)
      if (peek(i) == 'm' || peek(i) == 's') refuse("(?" + std::string(1, peek(i)) + ")");
  }

  void copy_through(std::string_view end) {
    const std::size_t found = pattern_.find(end, at_);
    copy(found == std::string_view::npos ? pattern_.size() - at_ : found + end.size() - at_);
  }

  [[noreturn]] void refuse(const std::string& construct) const {
    throw CheckpointError("tokenizer/model: " + where_ + ": '" + construct + "' in the pattern '" +
                          quotable(pattern_) + "' is not supported");
  }

  std::string_view pattern_;
  const std::string& where_;
  std::string out_;
  std::size_t at_ = 0;
  bool in_class_ = false;
};

}  // namespace

std::string pattern_for_pcre2(std::string_view pattern, const std::string& where) {
  return Translation(pattern, where).run();
}

}  // namespace stagformer::internal
