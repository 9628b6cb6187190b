// range(), dict() and namespace(): what templates call without having defined it.
#include "text/jinja/builtins.hpp"

namespace stagformer::internal::jinja {
namespace {

constexpr std::int64_t kLongestRange = 100000, kFurthest = std::int64_t{1} << 40;

Value range(const Arguments& a) {
  a.expect("range()", {"start", "stop", "step"});
  std::vector<std::int64_t> bounds;
  for (const Value& bound : a.positional) bounds.push_back(integer_of(bound, "a bound of range()"));
  if (bounds.empty() || !a.named.empty()) fail("range() is not given its bounds");
  const std::int64_t begin = bounds.size() > 1 ? bounds[0] : 0, end = bounds[bounds.size() > 1 ? 1 : 0];
  const std::int64_t step = bounds.size() > 2 ? bounds[2] : 1;
  if (step == 0) fail("range()'s step is zero");
  // So far i + step cannot overflow.
  for (const std::int64_t bound : bounds)
    if (bound < -kFurthest || bound > kFurthest) fail("range() is too long");
  std::vector<Value> numbers;
  for (std::int64_t i = begin; step > 0 ? i < end : i > end; i += step) {
    if (static_cast<std::int64_t>(numbers.size()) == kLongestRange) fail("range() is too long");
    numbers.emplace_back(i);
  }
  return Value::view(std::move(numbers), "range");
}

/// Of a dict, if one is given, and of named arguments.
Dict fields_of(const std::string& function, const Arguments& a) {
  Dict fields;
  if (a.positional.size() > 1) fail(function + "() takes one dict");
  for (const Value& from : a.positional) {
    if (!from.dict()) fail(function + "() of a " + from.type_name() + " is not supported");
    fields = *from.dict();
  }
  for (const auto& [key, value] : a.named) fields.set(Text(key), value);
  return fields;
}

Value dict(const Arguments& a) {
  return Value::dict(fields_of("dict", a));
}

Value name_space(const Arguments& a) {
  Dict fields = fields_of("namespace", a);
  for (const auto& entry : fields.entries) check_held(entry.second);
  return Value(std::make_shared<Namespace>(Namespace{std::move(fields)}));
}

}  // namespace

Value global_function(const std::string& name) {
  if (name == "range") return Value::function(name, range);
  if (name == "dict") return Value::function(name, dict);
  if (name == "namespace") return Value::function(name, name_space);
  return Value();
}

}  // namespace stagformer::internal::jinja
