// The tokens of a template in the hands of a parser.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "text/jinja/lexer.hpp"
#include "text/jinja/value.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal::jinja {

class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() {
    Token token = now();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }
  bool is(Token::Kind kind) const { return now().kind == kind; }
  bool is_sign(const char* text) const { return is(Token::Kind::sign) && now().text == text; }
  bool is_name(const char* text) const { return is(Token::Kind::name) && now().text == text; }
  bool take_sign(const char* text) {
    const bool found = is_sign(text);
    if (found) take();
    return found;
  }
  bool take_name(const char* text) {
    const bool found = is_name(text);
    if (found) take();
    return found;
  }
  void expect_sign(const char* text) {
    if (!take_sign(text)) refuse("'" + std::string(text) + "' is expected");
  }
  std::string expect_name() {
    if (!is(Token::Kind::name)) refuse("a name is expected");
    return take().text;
  }
  void expect(Token::Kind kind, const char* what) {
    if (!is(kind)) refuse(std::string(what) + " is expected");
    take();
  }
  [[noreturn]] void refuse(const std::string& problem) const {
    fail("line " + std::to_string(now().line) + ": " + problem + found());
  }

 private:
  std::string found() const {
    const bool shown = !now().text.empty() && now().kind != Token::Kind::data;
    return shown ? ", found '" + quotable(now().text) + "'" : "";
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace stagformer::internal::jinja
