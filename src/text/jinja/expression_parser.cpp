#include "text/jinja/expression_parser.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace stagformer::internal::jinja {
namespace {

constexpr int kDeepest = 200;

std::int64_t integer_from(const TokenStream& tokens, const std::string& digits) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc()) tokens.refuse("an integer is too large");
  return number;
}

}  // namespace

ExpressionPointer ExpressionParser::make(Kind kind, std::string name) const {
  auto expression = std::make_unique<Expression>();
  expression->kind = kind;
  expression->line = tokens_.now().line;
  expression->name = std::move(name);
  return expression;
}

template <typename... Operands>
ExpressionPointer ExpressionParser::make_with(Kind kind, std::string name, Operands... operands) const {
  ExpressionPointer expression = make(kind, std::move(name));
  (expression->operands.push_back(std::move(operands)), ...);
  return expression;
}

ExpressionPointer ExpressionParser::expression() {
  if (++depth_ > kDeepest) tokens_.refuse("expressions are nested too deep");
  ExpressionPointer value = disjunction();
  while (tokens_.take_name("if")) {
    ExpressionPointer condition = disjunction();
    ExpressionPointer otherwise = tokens_.take_name("else") ? expression() : nullptr;
    value = make_with(Kind::conditional, "", std::move(condition), std::move(value), std::move(otherwise));
  }
  --depth_;
  return value;
}

ExpressionPointer ExpressionParser::expression_or_tuple() {
  ExpressionPointer first = expression();
  if (!tokens_.is_sign(",")) return first;
  ExpressionPointer tuple = make_with(Kind::tuple, "", std::move(first));
  while (tokens_.take_sign(","))
    if (!tokens_.is_sign(")") && !tokens_.is(Token::Kind::block_end) && !tokens_.is(Token::Kind::print_end))
      tuple->operands.push_back(expression());
  return tuple;
}

ExpressionPointer ExpressionParser::disjunction() {
  ExpressionPointer left = conjunction();
  while (tokens_.take_name("or")) left = make_with(Kind::logic, "or", std::move(left), conjunction());
  return left;
}

ExpressionPointer ExpressionParser::conjunction() {
  ExpressionPointer left = negation();
  while (tokens_.take_name("and")) left = make_with(Kind::logic, "and", std::move(left), negation());
  return left;
}

ExpressionPointer ExpressionParser::negation() {
  bool negative = false, any = false;
  for (; tokens_.take_name("not"); any = true) negative = !negative;
  ExpressionPointer value = comparison();
  if (!any) return value;
  value = make_with(Kind::unary, "not", std::move(value));
  return negative ? std::move(value) : make_with(Kind::unary, "not", std::move(value));
}

/// Empty where none follows.
std::string ExpressionParser::comparison_sign() {
  for (const char* sign : {"==", "!=", "<=", ">=", "<", ">"})
    if (tokens_.take_sign(sign)) return sign;
  if (tokens_.take_name("in")) return "in";
  if (!tokens_.is_name("not") || tokens_.next().text != "in" || tokens_.next().kind != Token::Kind::name)
    return {};
  tokens_.take();
  tokens_.take();
  return "not in";
}

ExpressionPointer ExpressionParser::comparison() {
  ExpressionPointer left = sum();
  std::string sign = comparison_sign();
  if (sign.empty()) return left;
  ExpressionPointer chain = make_with(Kind::comparison, "", std::move(left));
  for (; !sign.empty(); sign = comparison_sign()) {
    chain->names.push_back(sign);
    chain->operands.push_back(sum());
  }
  return chain;
}

ExpressionPointer ExpressionParser::sum() {
  ExpressionPointer left = joined();
  while (tokens_.is_sign("+") || tokens_.is_sign("-")) {
    const std::string sign = tokens_.take().text;
    left = make_with(Kind::binary, sign, std::move(left), joined());
  }
  return left;
}

ExpressionPointer ExpressionParser::joined() {
  ExpressionPointer left = product();
  while (tokens_.take_sign("~")) left = make_with(Kind::binary, "~", std::move(left), product());
  return left;
}

ExpressionPointer ExpressionParser::product() {
  ExpressionPointer left = power();
  while (tokens_.is_sign("*") || tokens_.is_sign("/") || tokens_.is_sign("//") || tokens_.is_sign("%")) {
    const std::string sign = tokens_.take().text;
    left = make_with(Kind::binary, sign, std::move(left), power());
  }
  return left;
}

ExpressionPointer ExpressionParser::power() {
  ExpressionPointer value = signed_value(true);
  if (tokens_.is_sign("**")) tokens_.refuse("the operator '**' is not supported");
  return value;
}

ExpressionPointer ExpressionParser::signed_value(bool with_filters) {
  ExpressionPointer value;
  if (tokens_.is_sign("-") || tokens_.is_sign("+")) {
    const std::string sign = tokens_.take().text;
    value = make_with(Kind::unary, sign, signed_value(false));
  } else {
    value = postfix(primary());
  }
  return with_filters ? filters(std::move(value)) : std::move(value);
}

ExpressionPointer ExpressionParser::primary() {
  const Token& token = tokens_.now();
  if (token.kind == Token::Kind::text) return text_literal();
  if (token.kind == Token::Kind::integer || token.kind == Token::Kind::number) {
    ExpressionPointer literal = make(Kind::literal);
    const std::string digits = tokens_.take().text;
    const bool whole = digits.find('.') == std::string::npos;
    literal->value = whole ? Value(integer_from(tokens_, digits)) : Value(std::stod(digits));
    return literal;
  }
  if (tokens_.take_sign("(")) return parenthesized();
  if (tokens_.take_sign("[")) return list();
  if (tokens_.take_sign("{")) return dict();
  if (token.kind != Token::Kind::name) tokens_.refuse("an expression is expected");
  ExpressionPointer name = make(Kind::name, tokens_.take().text);
  const std::string& word = name->name;
  name->kind = Kind::literal;
  if (word == "true" || word == "True" || word == "false" || word == "False")
    name->value = Value(word == "true" || word == "True");
  else if (word == "none" || word == "None")
    name->value = Value(None{});
  else
    name->kind = Kind::name;
  return name;
}

/// Neighbouring strings are one.
ExpressionPointer ExpressionParser::text_literal() {
  ExpressionPointer literal = make(Kind::literal);
  std::string text;
  while (tokens_.is(Token::Kind::text)) text += tokens_.take().text;
  literal->value = Text(text);
  return literal;
}

ExpressionPointer ExpressionParser::parenthesized() {
  if (tokens_.take_sign(")")) return make(Kind::tuple);
  ExpressionPointer inner = expression_or_tuple();
  tokens_.expect_sign(")");
  return inner;
}

ExpressionPointer ExpressionParser::list() {
  ExpressionPointer list = make(Kind::list);
  while (!tokens_.take_sign("]")) {
    if (!list->operands.empty()) tokens_.expect_sign(",");
    if (tokens_.take_sign("]")) break;
    list->operands.push_back(expression());
  }
  return list;
}

ExpressionPointer ExpressionParser::dict() {
  ExpressionPointer dict = make(Kind::dict);
  while (!tokens_.take_sign("}")) {
    if (!dict->operands.empty()) tokens_.expect_sign(",");
    if (tokens_.take_sign("}")) break;
    dict->operands.push_back(expression());
    tokens_.expect_sign(":");
    dict->operands.push_back(expression());
  }
  return dict;
}

ExpressionPointer ExpressionParser::postfix(ExpressionPointer value) {
  for (;;) {
    if (tokens_.take_sign(".")) {
      if (tokens_.is(Token::Kind::integer)) {
        ExpressionPointer index = make(Kind::literal);
        index->value = Value(integer_from(tokens_, tokens_.take().text));
        value = make_with(Kind::item, "", std::move(value), std::move(index));
      } else {
        value = make_with(Kind::attribute, tokens_.expect_name(), std::move(value));
      }
    } else if (tokens_.take_sign("[")) {
      value = subscript(std::move(value));
    } else if (tokens_.take_sign("(")) {
      value = make_with(Kind::call, "", std::move(value));
      arguments(*value);
    } else {
      return value;
    }
  }
}

ExpressionPointer ExpressionParser::subscript(ExpressionPointer value) {
  std::array<ExpressionPointer, 3> bounds;
  std::size_t colons = 0;
  if (!tokens_.is_sign(":")) bounds[0] = expression();
  for (; colons < 2 && tokens_.take_sign(":"); ++colons)
    if (!tokens_.is_sign(":") && !tokens_.is_sign("]")) bounds[colons + 1] = expression();
  tokens_.expect_sign("]");
  if (colons == 0) return make_with(Kind::item, "", std::move(value), std::move(bounds[0]));
  return make_with(Kind::slice, "", std::move(value), std::move(bounds[0]), std::move(bounds[1]),
                   std::move(bounds[2]));
}

/// Behind the opening parenthesis.
void ExpressionParser::arguments(Expression& call) {
  for (bool first = true; !tokens_.take_sign(")"); first = false) {
    if (!first) tokens_.expect_sign(",");
    if (tokens_.take_sign(")")) return;
    if (tokens_.is_sign("*") || tokens_.is_sign("**"))
      tokens_.refuse("arguments from a list or a dict are not supported");
    const bool named = tokens_.is(Token::Kind::name) && tokens_.next().kind == Token::Kind::sign &&
                       tokens_.next().text == "=";
    if (named) {
      const std::string name = tokens_.take().text;
      tokens_.take();
      call.named.emplace_back(name, expression());
    } else {
      if (!call.named.empty()) tokens_.refuse("a positional argument stands behind a named one");
      call.operands.push_back(expression());
    }
  }
}

ExpressionPointer ExpressionParser::filters(ExpressionPointer input) {
  for (;;) {
    if (tokens_.take_sign("|")) {
      input = make_with(Kind::filter, tokens_.expect_name(), std::move(input));
      if (tokens_.take_sign("(")) arguments(*input);
    } else if (tokens_.take_name("is")) {
      input = test(std::move(input));
    } else if (tokens_.is_sign("(")) {
      tokens_.take();
      input = make_with(Kind::call, "", std::move(input));
      arguments(*input);
    } else {
      return input;
    }
  }
}

ExpressionPointer ExpressionParser::test(ExpressionPointer value) {
  const bool negative = tokens_.take_name("not");
  ExpressionPointer test = make_with(Kind::test, tokens_.expect_name(), std::move(value));
  const auto is_word = [this] {
    static constexpr std::array<std::string_view, 6> kOther = {"else", "or", "and", "is", "if", "in"};
    return tokens_.is(Token::Kind::name) && tokens_.now().text != "not" &&
           std::ranges::find(kOther, tokens_.now().text) == kOther.end();
  };
  if (tokens_.take_sign("(")) {
    arguments(*test);
  } else if (is_word() || tokens_.is(Token::Kind::text) || tokens_.is(Token::Kind::integer) ||
             tokens_.is(Token::Kind::number) || tokens_.is_sign("[") || tokens_.is_sign("{")) {
    test->operands.push_back(postfix(primary()));
  }
  return negative ? make_with(Kind::unary, "not", std::move(test)) : std::move(test);
}

}  // namespace stagformer::internal::jinja
