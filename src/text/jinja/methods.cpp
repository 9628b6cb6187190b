// What stands behind a dot or in brackets.
#include <algorithm>
#include <array>
#include <string_view>

#include "text/jinja/builtins.hpp"

namespace stagformer::internal::jinja {
namespace {

constexpr std::array<std::string_view, 35> kOtherTextMethods = {
    "title",   "casefold",   "center",      "encode",       "expandtabs",   "format",    "format_map",
    "index",   "isalnum",    "isalpha",     "isascii",      "isdecimal",    "isdigit",   "isidentifier",
    "islower", "isnumeric",  "isprintable", "isspace",      "istitle",      "isupper",   "join",
    "ljust",   "maketrans",  "partition",   "removeprefix", "removesuffix", "rfind",     "rindex",
    "rjust",   "rpartition", "rsplit",      "splitlines",   "swapcase",     "translate", "zfill"};
constexpr std::array<std::string_view, 7> kOtherDictMethods = {"clear",   "copy",       "fromkeys", "pop",
                                                               "popitem", "setdefault", "update"};
constexpr std::array<std::string_view, 11> kListMethods = {
    "append", "clear", "copy", "count", "extend", "index", "insert", "pop", "remove", "reverse", "sort"};

/// A name that Python knows is not taken for a missing entry.
template <typename Names>
void refuse_known(const Names& names, const std::string& name, const char* type) {
  if (std::ranges::find(names, name) != names.end())
    fail("the method '" + name + "' of a " + type + " is not supported");
}

const std::string& text_argument(const Arguments& arguments, std::size_t place, const std::string& method) {
  const Value* value = arguments.find(place, "");
  if (!value || !value->text()) fail(method + "() is not given a string");
  return value->text()->bytes();
}

Value split_text(const Text& text, const Arguments& arguments) {
  arguments.expect("split()", {"sep", "maxsplit"});
  const Value* separator = arguments.find(0, "sep");
  const Value* most = arguments.find(1, "maxsplit");
  const std::int64_t limit = most ? integer_of(*most, "split()'s maxsplit") : -1;
  const bool words = !separator || separator->is_none();
  if (words && limit >= 0) fail("split() at blanks with maxsplit is not supported");
  if (!words && (!separator->text() || separator->text()->empty())) fail("split()'s separator is no text");
  std::vector<Value> parts;
  for (const Text& part : words ? split_words(text) : split(text, separator->text()->bytes(), limit))
    parts.emplace_back(part);
  return Value::list(std::move(parts));
}

Value strip_text(const Text& text, Side side, const Arguments& arguments) {
  arguments.expect("strip()", {"chars"});
  const Value* set = arguments.find(0, "chars");
  if (!set || set->is_none()) return strip(text, side);
  if (!set->text()) fail("strip() is not given a string");
  return strip(text, side, &set->text()->bytes());
}

/// startswith and endswith take one string or a tuple of them.
bool is_at_end(const Text& text, const std::string& method, const Arguments& arguments) {
  arguments.expect(method + "()", {"prefix"});
  const Value* wanted = arguments.find(0, "prefix");
  if (!wanted) fail(method + "() needs an argument");
  const std::vector<Value> all =
      wanted->list() && wanted->list()->tuple ? wanted->list()->items : std::vector<Value>{*wanted};
  return std::ranges::any_of(all, [&](const Value& value) {
    if (!value.text()) fail(method + "() is not given a string");
    const std::string& end = value.text()->bytes();
    return method == "startswith" ? text.bytes().starts_with(end) : text.bytes().ends_with(end);
  });
}

/// In characters, not in bytes.
Value find_text(const Text& text, const Arguments& arguments) {
  arguments.expect("find()", {"sub"});
  const std::size_t found = text.bytes().find(text_argument(arguments, 0, "find"));
  if (found == std::string::npos) return Value(std::int64_t{-1});
  return Value(length_of(text.part(0, found)));
}

Value replace_text(const Text& text, const Arguments& arguments) {
  return apply_filter("replace", text, arguments);
}

Value text_method(const Text& text, const std::string& name) {
  const auto method = [&](auto work) { return Value::function(name, work); };
  if (name == "strip" || name == "lstrip" || name == "rstrip") {
    const Side side = name == "strip" ? Side::both : name == "lstrip" ? Side::left : Side::right;
    return method([=](const Arguments& a) { return strip_text(text, side, a); });
  }
  if (name == "startswith" || name == "endswith")
    return method([=](const Arguments& a) { return Value(is_at_end(text, name, a)); });
  if (name == "split") return method([=](const Arguments& a) { return split_text(text, a); });
  if (name == "find") return method([=](const Arguments& a) { return find_text(text, a); });
  if (name == "replace") return method([=](const Arguments& a) { return replace_text(text, a); });
  if (name == "upper" || name == "lower" || name == "capitalize")
    return method([=](const Arguments& a) { return apply_filter(name, text, a); });
  if (name == "count")
    return method([=](const Arguments& a) {
      const std::string& part = text_argument(a, 0, name);
      if (part.empty()) fail("count() of an empty string is not supported");
      std::int64_t count = 0;
      for (std::size_t at = text.bytes().find(part); at != std::string::npos; ++count)
        at = text.bytes().find(part, at + part.size());
      return Value(count);
    });
  refuse_known(kOtherTextMethods, name, "str");
  return Value(Undefined{name});
}

Value entries_of(const Dict& dict, const std::string& what) {
  std::vector<Value> values;
  for (const auto& [key, value] : dict.entries)
    values.push_back(what == "keys"     ? Value(key)
                     : what == "values" ? value
                                        : Value::list({Value(key), value}, true));
  return Value::view(std::move(values), what == "keys"     ? "dict_keys"
                                        : what == "values" ? "dict_values"
                                                           : "dict_items");
}

Value get_entry(const Dict& dict, const Arguments& arguments) {
  arguments.expect("get()", {"key", "default"});
  const Value* key = arguments.find(0, "key");
  const Value* fallback = arguments.find(1, "default");
  if (!key) fail("get() needs a key");
  const Value* found = key->text() ? dict.find(key->text()->bytes()) : nullptr;
  return found ? *found : fallback ? *fallback : Value(None{});
}

Value dict_attribute(const Value& owner, const std::string& name) {
  if (name == "items" || name == "keys" || name == "values")
    return Value::function(name, [=](const Arguments& arguments) {
      arguments.expect(name + "()", {});
      return entries_of(*owner.dict(), name);
    });
  if (name == "get")
    return Value::function(name, [=](const Arguments& a) { return get_entry(*owner.dict(), a); });
  refuse_known(kOtherDictMethods, name, "dict");
  const Value* found = owner.dict()->find(name);
  return found ? *found : Value(Undefined{name});
}

/// A character of a text, or an item.
Value entry_at(const Value& row, std::int64_t index) {
  std::vector<std::size_t> starts;
  if (row.text()) starts = character_starts(row.text()->bytes());
  const auto count = static_cast<std::int64_t>(row.text() ? starts.size() - 1 : row.list()->items.size());
  if (index < 0) index += count;
  if (index < 0 || index >= count) return Value(Undefined{"element " + std::to_string(index)});
  const auto at = static_cast<std::size_t>(index);
  return row.text() ? Value(row.text()->part(starts[at], starts[at + 1])) : row.list()->items[at];
}

[[noreturn]] void refuse_undefined(const Value& value, const std::string& wanted) {
  fail("'" + value.get<Undefined>()->name + "' is undefined: it has no '" + wanted + "'");
}

bool is_left_out(const Value& bound) {
  return bound.is_none() || (bound.is_undefined() && bound.get<Undefined>()->name.empty());
}

/// A bound of a slice over `count` entries as Python counts it.
std::int64_t bound_of(const Value& value, std::int64_t fallback, std::int64_t count, bool backwards) {
  if (is_left_out(value)) return fallback;
  std::int64_t index = integer_of(value, "a bound of a slice");
  if (index < 0) index += count;
  return std::clamp<std::int64_t>(index, backwards ? -1 : 0, backwards ? count - 1 : count);
}

}  // namespace

Value attribute_of(const Value& value, const std::string& name) {
  if (value.is_undefined()) refuse_undefined(value, name);
  if (value.text() && value.text()->is_safe())
    fail("methods of a text behind the filter 'safe' are not supported");
  if (const Text* text = value.text()) return text_method(*text, name);
  if (value.dict()) return dict_attribute(value, name);
  if (value.list()) refuse_known(kListMethods, name, "list");
  const Namespace* fields = value.name_space();
  const Value* found = fields ? fields->fields.find(name) : nullptr;
  return found ? *found : Value(Undefined{name});
}

Value item_of(const Value& value, const Value& index) {
  if (value.is_undefined()) refuse_undefined(value, index.text() ? index.text()->bytes() : "element");
  if (const Text* name = index.text()) {
    const Value* found = value.dict() ? value.dict()->find(name->bytes()) : nullptr;
    return found ? *found : attribute_of(value, name->bytes());
  }
  const bool row = value.text() || is_indexed(value);
  if (row && (index.get<std::int64_t>() || index.get<bool>()))
    return entry_at(value, integer_of(index, "an index"));
  return Value(Undefined{"an element"});
}

Value slice_of(const Value& value, const Value& begin, const Value& end, const Value& step) {
  if (value.is_undefined()) refuse_undefined(value, "slice");
  if (!value.text() && !is_indexed(value))
    fail(std::string("a ") + value.type_name() + " cannot be cut into slices");
  std::vector<std::size_t> starts;  // of a text's characters
  if (value.text()) starts = character_starts(value.text()->bytes());
  const auto count = static_cast<std::int64_t>(value.text() ? starts.size() - 1 : value.list()->items.size());
  const std::int64_t stride =
      is_left_out(step) ? 1 : std::clamp(integer_of(step, "a slice's step"), -count - 1, count + 1);
  if (stride == 0) fail("a slice's step is zero");
  const bool backwards = stride < 0;
  const std::int64_t first = bound_of(begin, backwards ? count - 1 : 0, count, backwards);
  const std::int64_t last = bound_of(end, backwards ? -1 : count, count, backwards);
  std::vector<Value> kept;
  Text text;
  for (std::int64_t i = first; backwards ? i > last : i < last; i += stride) {
    const auto at = static_cast<std::size_t>(i);
    if (value.text())
      text += value.text()->part(starts[at], starts[at + 1]);
    else
      kept.push_back(value.list()->items[at]);
  }
  return value.text()           ? Value(text)
         : is_plain_list(value) ? Value::list(std::move(kept), value.list()->tuple)
                                : Value::view(std::move(kept), value.list()->view);
}

}  // namespace stagformer::internal::jinja
