// value | FILTER
#include <algorithm>
#include <charconv>
#include <map>

#include "text/jinja/builtins.hpp"

namespace stagformer::internal::jinja {
namespace {

using Filter = Value (*)(const Value&, const Arguments&);

/// Letters beyond ASCII may become several, or depend on their neighbours.
Text with_case(const Text& text, bool upper, std::size_t from = 0) {
  std::string bytes = text.bytes();
  for (std::size_t i = from; i < bytes.size(); ++i) {
    if (static_cast<unsigned char>(bytes[i]) >= 0x80)
      fail("upper and lower case of letters beyond ASCII are not supported");
    const char first = upper ? 'a' : 'A';
    if (bytes[i] >= first && bytes[i] <= first + 25) bytes[i] = static_cast<char>(bytes[i] ^ 0x20);
  }
  return text.with_bytes(std::move(bytes));
}

Value upper(const Value& input, const Arguments& a) {
  a.expect("upper", {});
  return with_case(to_text(input), true);
}
Value lower(const Value& input, const Arguments& a) {
  a.expect("lower", {});
  return with_case(to_text(input), false);
}
Value capitalize(const Value& input, const Arguments& a) {
  a.expect("capitalize", {});
  const Text text = to_text(input);
  if (text.empty()) return text;
  Text out = with_case(text.part(0, 1), true);
  out += with_case(text.part(1, text.bytes().size()), false);
  return out;
}

Value trim(const Value& input, const Arguments& a) {
  a.expect("trim", {"chars"});
  const Value* set = a.find(0, "chars");
  if (!set || set->is_none()) return strip(to_text(input), Side::both);
  if (!set->text()) fail("trim is not given a string");
  return strip(to_text(input), Side::both, &set->text()->bytes());
}

/// What a filter makes of a list's items, one after the other.
class MappedItems {
 public:
  void add(Value item) {
    weight_ += extent_of(item).weight;
    if (weight_ > kHeaviestValue) fail("what a filter makes of a list is too large");
    items_.push_back(std::move(item));
  }
  Value take() { return Value::generator(std::move(items_)); }

 private:
  std::vector<Value> items_;
  std::int64_t weight_ = 0;
};

/// As transformers has it, not as Jinja does: nothing is escaped for HTML.
Value tojson(const Value& input, const Arguments& a) {
  a.expect("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  if (const Value* ascii = a.find(0, "ensure_ascii"); ascii && truth(*ascii))
    fail("tojson(ensure_ascii=true) is not supported");
  if (const Value* indent = a.find(1, "indent"); indent && !indent->is_none()) {
    style.indent = std::clamp<std::int64_t>(integer_of(*indent, "tojson's indent"), 0, 64);
    style.item_separator = ",";
  }
  if (const Value* separators = a.find(2, "separators"); separators && !separators->is_none()) {
    const std::vector<Value> both = elements(*separators);
    if (both.size() != 2 || !both[0].text() || !both[1].text())
      fail("tojson's separators are no two strings");
    style.item_separator = both[0].text()->bytes();
    style.key_separator = both[1].text()->bytes();
  }
  if (const Value* sort = a.find(3, "sort_keys")) style.sort_keys = truth(*sort);
  return to_json_text(input, style);
}

Value length(const Value& input, const Arguments& a) {
  a.expect("length", {});
  return Value(length_of(input));
}

/// x.name, or for "a.b" one after the other.
Value path_of(const Value& value, const Value& path) {
  if (!path.text()) return item_of(value, path);
  Value found = value;
  for (const Text& name : split(*path.text(), ".", -1)) found = item_of(found, Value(name));
  return found;
}

Value join(const Value& input, const Arguments& a) {
  a.expect("join", {"d", "attribute"});
  const Value* separator = a.find(0, "d");
  const Value* attribute = a.find(1, "attribute");
  Text out;
  bool first = true;
  for (const Value& item : elements(input)) {
    if (!first && separator) out += to_text(*separator);
    out += to_text(attribute ? path_of(item, *attribute) : item);
    first = false;
  }
  return out;
}

Value fallback(const Value& input, const Arguments& a) {
  a.expect("default", {"default_value", "boolean"});
  const Value* other = a.find(0, "default_value");
  const Value* boolean = a.find(1, "boolean");
  const bool replaced = input.is_undefined() || (boolean && truth(*boolean) && !truth(input));
  return !replaced ? input : other ? *other : Value("");
}

Value first(const Value& input, const Arguments& a) {
  a.expect("first", {});
  const std::vector<Value> items = elements(input);
  return items.empty() ? Value(Undefined{"the first element"}) : items.front();
}
Value last(const Value& input, const Arguments& a) {
  a.expect("last", {});
  const std::vector<Value> items = elements(input);
  return items.empty() ? Value(Undefined{"the last element"}) : items.back();
}
Value as_list(const Value& input, const Arguments& a) {
  a.expect("list", {});
  return Value::list(elements(input));
}
Value as_text(const Value& input, const Arguments& a) {
  a.expect("string", {});
  return to_text(input);
}
Value safe(const Value& input, const Arguments& a) {
  a.expect("safe", {});
  return to_text(input).made_safe();
}

Value as_integer(const Value& input, const Arguments& a) {
  a.expect("int", {"default"});
  const Value* other = a.find(0, "default");
  if (input.is_undefined()) fail("int of what is undefined");
  if (input.get<bool>() || input.get<std::int64_t>()) return Value(integer_of(input, "a number"));
  if (const double* number = input.get<double>())
    if (*number > -1e18 && *number < 1e18) return Value(static_cast<std::int64_t>(*number));
  const std::string digits = input.text() ? strip(*input.text(), Side::both).bytes() : "";
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error == std::errc() && end == digits.data() + digits.size()) return Value(number);
  if (digits.find_first_of("0123456789") != std::string::npos)
    fail("int of '" + digits + "' is not supported");
  return other ? *other : Value(std::int64_t{0});
}

Value absolute(const Value& input, const Arguments& a) {
  a.expect("abs", {});
  if (const bool* flag = input.get<bool>()) return Value(std::int64_t{*flag});
  return compare("<", input, Value(std::int64_t{0})) ? negated(input) : input;
}

Value reversed(const Value& input, const Arguments& a) {
  a.expect("reverse", {});
  if (input.text()) return slice_of(input, Value(), Value(), Value(std::int64_t{-1}));
  std::vector<Value> items = elements(input);
  std::ranges::reverse(items);
  return Value::generator(std::move(items));
}

Value replaced(const Value& input, const Arguments& a) {
  a.expect("replace", {"old", "new", "count"});
  const Value *from = a.find(0, "old"), *to = a.find(1, "new"), *count = a.find(2, "count");
  if (!from || !to) fail("replace needs two strings");
  const std::string old = to_text(*from).bytes();
  if (old.empty()) fail("replace of an empty string is not supported");
  const bool all = !count || count->is_none();
  return replace(to_text(input), old, to_text(*to), all ? -1 : integer_of(*count, "replace's count"));
}

Value items(const Value& input, const Arguments& a) {
  a.expect("items", {});
  if (input.is_undefined()) return Value::generator({});
  if (!input.dict()) fail(std::string("items of a ") + input.type_name());
  std::vector<Value> pairs;
  for (const auto& [key, value] : input.dict()->entries)
    pairs.push_back(Value::list({Value(key), value}, true));
  return Value::generator(std::move(pairs));
}

Value dictsort(const Value& input, const Arguments& a) {
  a.expect("dictsort", {});
  if (!input.dict()) fail(std::string("dictsort of a ") + input.type_name());
  auto entries = input.dict()->entries;
  std::ranges::stable_sort(entries, [](const auto& x, const auto& y) {
    return with_case(x.first, false) < with_case(y.first, false);
  });
  std::vector<Value> pairs;
  for (const auto& [key, value] : entries) pairs.push_back(Value::list({Value(key), value}, true));
  return Value::list(std::move(pairs));
}

std::string name_argument(const Arguments& a, std::size_t place, const char* filter) {
  if (place >= a.positional.size() || !a.positional[place].text())
    fail(std::string(filter) + " needs a name");
  return a.positional[place].text()->bytes();
}

Arguments arguments_behind(const Arguments& a, std::size_t places) {
  const auto begin = a.positional.begin() + static_cast<std::ptrdiff_t>(places);
  return {{begin, a.positional.end()}, a.named};
}

Value map(const Value& input, const Arguments& a) {
  const Value* attribute = a.find(a.positional.size(), "attribute");
  MappedItems mapped;
  if (attribute) {
    Arguments rest{a.positional, a.named};
    rest.expect("map", {"attribute", "default"});
    const Value* other = a.find(a.positional.size(), "default");
    for (const Value& item : elements(input)) {
      Value found = path_of(item, *attribute);
      mapped.add(found.is_undefined() && other ? *other : std::move(found));
    }
  } else {
    const std::string filter = name_argument(a, 0, "map");
    for (const Value& item : elements(input)) mapped.add(apply_filter(filter, item, arguments_behind(a, 1)));
  }
  return mapped.take();
}

/// Items that pass, or fail, the test named at `place`; without one: that are true.
Value chosen(const Value& input, const Arguments& a, bool by_attribute, bool wanted) {
  const std::size_t place = by_attribute ? 1 : 0;
  if (by_attribute && a.positional.empty()) fail("selectattr and rejectattr need an attribute");
  std::vector<Value> kept;
  for (const Value& item : elements(input)) {
    const Value subject = by_attribute ? path_of(item, a.positional[0]) : item;
    const bool passes = a.positional.size() > place ? apply_test(name_argument(a, place, "select"), subject,
                                                                 arguments_behind(a, place + 1))
                                                    : truth(subject);
    if (passes == wanted) kept.push_back(item);
  }
  return Value::generator(std::move(kept));
}

const std::map<std::string, Filter>& filters() {
  static const std::map<std::string, Filter> kFilters = {
      {"abs", absolute},
      {"capitalize", capitalize},
      {"count", length},
      {"d", fallback},
      {"default", fallback},
      {"dictsort", dictsort},
      {"first", first},
      {"int", as_integer},
      {"items", items},
      {"join", join},
      {"last", last},
      {"length", length},
      {"list", as_list},
      {"lower", lower},
      {"map", map},
      {"reject", [](const Value& v, const Arguments& a) { return chosen(v, a, false, false); }},
      {"rejectattr", [](const Value& v, const Arguments& a) { return chosen(v, a, true, false); }},
      {"replace", replaced},
      {"reverse", reversed},
      {"safe", safe},
      {"select", [](const Value& v, const Arguments& a) { return chosen(v, a, false, true); }},
      {"selectattr", [](const Value& v, const Arguments& a) { return chosen(v, a, true, true); }},
      {"string", as_text},
      {"tojson", tojson},
      {"trim", trim},
      {"upper", upper},
  };
  return kFilters;
}

}  // namespace

Value apply_filter(const std::string& name, const Value& input, const Arguments& arguments) {
  const auto found = filters().find(name);
  if (found == filters().end()) fail("the filter '" + name + "' is not supported");
  const Value result = found->second(input, arguments);
  const bool stays_safe = input.text() && input.text()->is_safe() && result.text();
  return stays_safe ? Value(result.text()->made_safe()) : result;  // of Python's Markup.upper() and the like
}

}  // namespace stagformer::internal::jinja
