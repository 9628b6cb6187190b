#include "text/jinja/lexer.hpp"

#include <algorithm>
#include <array>
#include <cctype>

#include "text/jinja/value.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal::jinja {
namespace {

constexpr std::string_view kBlanks = " \t\n\r\f\v";

bool is_name_begin(char c) {
  return std::isalpha(static_cast<unsigned char>(c)) || c == '_';
}
bool is_digit(char c) {
  return std::isdigit(static_cast<unsigned char>(c));
}

/// Newlines as \n, without the one at the end, as Jinja reads a template.
std::string normalized(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') out += source[i];
    if (source[i] == '\r' && source.substr(i + 1, 1) != "\n") out += '\n';
  }
  if (out.ends_with('\n')) out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(normalized(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) read_data();
    add(Token::Kind::end, "");
    return std::move(tokens_);
  }

 private:
  [[noreturn]] void refuse(const std::string& problem) const {
    fail("line " + std::to_string(line_) + ": " + problem);
  }
  void add(Token::Kind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }
  std::string_view rest() const { return std::string_view(source_).substr(at_); }
  void advance(std::size_t bytes) {
    line_ += static_cast<int>(std::ranges::count(rest().substr(0, bytes), '\n'));
    at_ += bytes;
  }
  void skip_blanks() {
    while (at_ < source_.size() && kBlanks.find(source_[at_]) != std::string_view::npos) advance(1);
  }

  /// Plain text and the tag behind it.
  void read_data() {
    std::size_t tag = source_.find('{', at_);
    while (tag != std::string::npos && (tag + 1 == source_.size() || !is_tag(source_[tag + 1])))
      tag = source_.find('{', tag + 1);
    if (tag == std::string::npos) {
      add(Token::Kind::data, std::string(rest()));
      return advance(rest().size());
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    const bool signed_tag = sign == '-' || sign == '+';
    const std::string text = data_before(source_.substr(at_, tag - at_), kind, sign);
    if (!text.empty()) add(Token::Kind::data, text);
    advance(tag - at_ + (signed_tag ? 3 : 2));
    if (kind == '#')
      skip_comment();
    else
      read_tag(kind);
  }
  static bool is_tag(char c) { return c == '{' || c == '%' || c == '#'; }

  /// What is left of the text in front of a tag. By -: no white space at its end. Else, in front of a block
  /// or a comment and unless by +, no blanks between the beginning of the line and the tag (lstrip_blocks).
  std::string data_before(std::string text, char kind, char sign) const {
    if (sign == '-') return strip(Text(text), Side::right).bytes();
    if (sign == '+' || kind == '{') return text;
    const std::size_t newline = text.rfind('\n');
    if (newline == std::string::npos && !at_line_begin()) return text;
    const std::size_t begin = newline == std::string::npos ? 0 : newline + 1;
    if (text.find_first_not_of(kBlanks, begin) == std::string::npos) text.resize(begin);
    return text;
  }
  bool at_line_begin() const { return at_ == 0 || source_[at_ - 1] == '\n'; }

  void skip_comment() {
    const std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) refuse("a comment has no end");
    const char sign = end > at_ ? source_[end - 1] : '\0';
    advance(end + 2 - at_);
    end_block(sign);
  }

  /// Behind a block or a comment. By -: all white space goes, else, unless by +, the end of the line
  /// (trim_blocks).
  void end_block(char sign) {
    if (sign == '-')
      skip_blanks();
    else if (sign != '+' && rest().starts_with('\n'))
      advance(1);
  }

  void read_tag(char kind) {
    const bool print = kind == '{';
    add(print ? Token::Kind::print_begin : Token::Kind::block_begin, "");
    const std::string_view close = print ? "}}" : "%}";
    // Inside of brackets a closing sign is none: {{ {'a': {}} }}.
    for (int depth = 0;;) {
      skip_blanks();
      if (at_ >= source_.size()) refuse("a tag has no end");
      if (depth == 0) {
        const char sign = source_[at_] == '-' || (!print && source_[at_] == '+') ? source_[at_] : '\0';
        if (rest().substr(sign ? 1 : 0).starts_with(close)) {
          add(print ? Token::Kind::print_end : Token::Kind::block_end, "");
          advance(sign ? 3 : 2);
          if (!print) return end_block(sign);
          return sign == '-' ? skip_blanks() : void();
        }
      }
      read_token(depth);
    }
  }

  void read_token(int& depth) {
    const char c = source_[at_];
    if (is_name_begin(c)) return read_name();
    if (is_digit(c)) return read_number();
    if (c == '\'' || c == '"') return read_text(c);
    static constexpr std::array<std::string_view, 6> kDouble = {"==", "!=", "<=", ">=", "//", "**"};
    const auto found =
        std::ranges::find_if(kDouble, [this](std::string_view sign) { return rest().starts_with(sign); });
    const std::string sign(found == kDouble.end() ? rest().substr(0, 1) : *found);
    if (std::string_view("+-*/%~<>=()[]{},.:|").find(c) == std::string_view::npos && found == kDouble.end())
      refuse("unexpected character '" + quotable(sign) + "'");
    if (sign == "(" || sign == "[" || sign == "{") ++depth;
    if (sign == ")" || sign == "]" || sign == "}") --depth;
    if (depth < 0) refuse("'" + sign + "' closes nothing");
    add(Token::Kind::sign, sign);
    advance(sign.size());
  }

  void read_name() {
    std::size_t end = at_;
    while (end < source_.size() && (is_name_begin(source_[end]) || is_digit(source_[end]))) ++end;
    add(Token::Kind::name, source_.substr(at_, end - at_));
    advance(end - at_);
  }

  void read_number() {
    std::size_t end = at_;
    const auto digits = [&] {
      while (end < source_.size() && (is_digit(source_[end]) || source_[end] == '_')) ++end;
    };
    digits();
    const bool is_index = at_ > 0 && source_[at_ - 1] == '.';  // a.0.1: two of them
    const bool fraction =
        !is_index && end + 1 < source_.size() && source_[end] == '.' && is_digit(source_[end + 1]);
    if (fraction) {
      ++end;
      digits();
    }
    if (end < source_.size() && is_name_begin(source_[end]))
      refuse("numbers like '" + source_.substr(at_, end + 1 - at_) + "' are not supported");
    std::string text = source_.substr(at_, end - at_);
    std::erase(text, '_');
    add(fraction ? Token::Kind::number : Token::Kind::integer, text);
    advance(end - at_);
  }

  void read_text(char quote) {
    const int line = line_;
    advance(1);
    std::string text;
    while (at_ < source_.size() && source_[at_] != quote) {
      if (source_[at_] == '\\') {
        text += read_escape();
      } else {
        text += source_[at_];
        advance(1);
      }
    }
    if (at_ >= source_.size()) fail("line " + std::to_string(line) + ": a string has no end");
    advance(1);
    add(Token::Kind::text, valid_utf8(text));
  }

  /// Python's escapes, but for octal ones and names of characters.
  std::string read_escape() {
    static constexpr std::string_view kLetters = "ntr\\'\"abfv", kMeaning = "\n\t\r\\'\"\a\b\f\v";
    const char c = at_ + 1 < source_.size() ? source_[at_ + 1] : '\0';
    const std::size_t known = kLetters.find(c);
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) return read_code(digits);
    if (is_digit(c) || c == 'N' || c == '\n' || c == '\0')
      refuse(std::string("the escape '\\") + c + "' is not supported");
    advance(2);
    return known == std::string_view::npos ? std::string{'\\', c} : std::string(1, kMeaning[known]);
  }
  std::string read_code(std::size_t digits) {
    const std::string hex = source_.substr(at_ + 2, digits);
    if (hex.size() < digits || hex.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      refuse("an escape needs " + std::to_string(digits) + " hexadecimal digits");
    const unsigned long code = std::stoul(hex, nullptr, 16);
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) refuse("'\\u" + hex + "' is no character");
    advance(2 + digits);
    std::string out;
    append_utf8(out, static_cast<char32_t>(code));
    return out;
  }

  const std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(source).run();
}

}  // namespace stagformer::internal::jinja
