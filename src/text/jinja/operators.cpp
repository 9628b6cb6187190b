#include <algorithm>
#include <cmath>

#include "text/jinja/builtins.hpp"

namespace stagformer::internal::jinja {
namespace {

[[noreturn]] void refuse(const std::string& sign, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b})
    if (const Undefined* missing = value->get<Undefined>()) fail("'" + missing->name + "' is undefined");
  fail("'" + sign + "' is not supported between " + a.type_name() + " and " + b.type_name());
}

bool is_integer(const Value& value) {
  return value.get<bool>() || value.get<std::int64_t>();
}
bool is_number(const Value& value) {
  return is_integer(value) || value.get<double>();
}
double as_double(const Value& value) {
  return value.get<double>() ? *value.get<double>() : static_cast<double>(integer_of(value, "an operand"));
}

/// Python rounds down, C++ towards zero.
std::int64_t floor_divided(std::int64_t a, std::int64_t b) {
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value of_integers(const std::string& sign, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (sign == "+") overflow = __builtin_add_overflow(a, b, &result);
  if (sign == "-") overflow = __builtin_sub_overflow(a, b, &result);
  if (sign == "*") overflow = __builtin_mul_overflow(a, b, &result);
  if (overflow) fail("an integer is too large");
  if (sign == "+" || sign == "-" || sign == "*") return Value(result);
  if (b == 0) fail("division by zero");
  if (sign == "/") return Value(static_cast<double>(a) / static_cast<double>(b));
  // The least integer has no opposite: multiplying and subtracting find that out.
  if (b == -1) return of_integers(sign == "//" ? "*" : "-", a, sign == "//" ? -1 : a);
  const std::int64_t quotient = floor_divided(a, b);
  return Value(sign == "//" ? quotient : a - quotient * b);
}

Value of_floats(const std::string& sign, double a, double b) {
  if (sign == "+") return Value(a + b);
  if (sign == "-") return Value(a - b);
  if (sign == "*") return Value(a * b);
  if (b == 0) fail("division by zero");
  if (sign == "/") return Value(a / b);
  if (sign == "//") return Value(std::floor(a / b));
  // The remainder has the divisor's sign.
  const double rest = std::fmod(a, b);
  return Value(rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest);
}

/// How often what has so many bytes or items is repeated; none of nothing, however often.
std::int64_t copies_of(std::size_t length, std::size_t most, const Value& count) {
  const std::int64_t copies = std::max<std::int64_t>(0, integer_of(count, "a factor"));
  if (length > 0 && copies > static_cast<std::int64_t>(most / length)) fail("a repeated value is too long");
  return length > 0 ? copies : 0;
}

Value repeated(const Value& value, const Value& count) {
  if (const Text* part = value.text()) {
    Text text;
    for (std::int64_t left = copies_of(part->bytes().size(), kLongestText, count); left > 0; --left)
      text += *part;
    return text;
  }
  const std::vector<Value>& part = value.list()->items;
  std::vector<Value> items;
  for (std::int64_t left = copies_of(part.size(), kMostItems, count); left > 0; --left)
    items.insert(items.end(), part.begin(), part.end());
  return Value::list(std::move(items), value.list()->tuple);
}

bool is_row(const Value& value) {
  return value.text() || is_plain_list(value);
}

Value joined(const Value& a, const Value& b) {
  if (a.text()) {
    Text text = *a.text();
    text += *b.text();
    return text;
  }
  std::vector<Value> items = a.list()->items;
  items.insert(items.end(), b.list()->items.begin(), b.list()->items.end());
  return Value::list(std::move(items), a.list()->tuple);
}

}  // namespace

Value binary(const std::string& sign, const Value& a, const Value& b) {
  if (sign == "~") return joined(to_text(a), to_text(b));
  if (is_integer(a) && is_integer(b))
    return of_integers(sign, integer_of(a, "an operand"), integer_of(b, "an operand"));
  if (is_number(a) && is_number(b)) return of_floats(sign, as_double(a), as_double(b));
  if (sign == "*" && is_row(a) && is_integer(b)) return repeated(a, b);
  if (sign == "*" && is_integer(a) && is_row(b)) return repeated(b, a);
  const bool alike = is_row(a) && is_row(b) && std::string(a.type_name()) == b.type_name();
  const auto is_safe = [](const Value& value) { return value.text() && value.text()->is_safe(); };
  if (alike && (is_safe(a) || is_safe(b)))
    fail("'" + sign + "' of a text behind the filter 'safe' is not supported");
  if (sign == "+" && alike) return joined(a, b);
  refuse(sign, a, b);
}

Value negated(const Value& value) {
  if (const double* number = value.get<double>()) return Value(-*number);  // of 0.0: -0.0
  return binary("-", Value(std::int64_t{0}), value);
}

bool compare(const std::string& sign, const Value& a, const Value& b) {
  if (sign == "==") return equal(a, b);
  if (sign == "!=") return !equal(a, b);
  if (sign == "in") return contains(b, a);
  if (sign == "not in") return !contains(b, a);
  if (a.is_undefined() || b.is_undefined()) refuse(sign, a, b);
  if (sign == "<") return less(a, b);
  if (sign == ">") return less(b, a);
  return sign == "<=" ? !less(b, a) : !less(a, b);
}

}  // namespace stagformer::internal::jinja
