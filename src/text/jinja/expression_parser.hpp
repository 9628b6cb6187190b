// Expressions, weakest operator first: a if b else c, or, and, not, comparisons, + -, ~, * / // %, **, signs,
// then what follows a value: .name [item] (call), then |filter and `is` test.
#pragma once

#include "text/jinja/syntax.hpp"
#include "text/jinja/token_stream.hpp"

namespace stagformer::internal::jinja {

class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  ExpressionPointer expression();
  /// Without `a if b else c` at its outermost level: what a loop with a filter goes over.
  ExpressionPointer without_condition() { return disjunction(); }
  /// One expression, or several with commas between them, which are a tuple.
  ExpressionPointer expression_or_tuple();
  /// What follows a pipe: a filter on `input`, perhaps several.
  ExpressionPointer filters(ExpressionPointer input);

 private:
  using Kind = Expression::Kind;

  ExpressionPointer make(Kind kind, std::string name = {}) const;
  template <typename... Operands>
  ExpressionPointer make_with(Kind kind, std::string name, Operands... operands) const;
  ExpressionPointer disjunction();
  ExpressionPointer conjunction();
  ExpressionPointer negation();
  ExpressionPointer comparison();
  std::string comparison_sign();
  ExpressionPointer sum();
  ExpressionPointer joined();
  ExpressionPointer product();
  ExpressionPointer power();
  ExpressionPointer signed_value(bool with_filters);
  ExpressionPointer primary();
  ExpressionPointer text_literal();
  ExpressionPointer parenthesized();
  ExpressionPointer list();
  ExpressionPointer dict();
  ExpressionPointer postfix(ExpressionPointer value);
  ExpressionPointer subscript(ExpressionPointer value);
  ExpressionPointer test(ExpressionPointer value);
  void arguments(Expression& call);

  TokenStream& tokens_;
  int depth_ = 0;
};

}  // namespace stagformer::internal::jinja
