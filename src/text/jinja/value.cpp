#include "text/jinja/value.hpp"

#include <algorithm>

namespace stagformer::internal::jinja {
namespace {

constexpr std::int64_t kHeld = 16;  // of a value's weight beside a text's bytes

/// A bool counts as 0 or 1, as in Python.
const std::int64_t* as_integer(const Value& value, std::int64_t& storage) {
  if (const bool* flag = value.get<bool>()) {
    storage = *flag ? 1 : 0;
    return &storage;
  }
  return value.get<std::int64_t>();
}

bool is_number(const Value& value) {
  return value.get<bool>() || value.get<std::int64_t>() || value.get<double>();
}

double as_double(const Value& value) {
  std::int64_t storage = 0;
  if (const std::int64_t* integer = as_integer(value, storage)) return static_cast<double>(*integer);
  return *value.get<double>();
}

bool equal_dicts(const Dict& a, const Dict& b) {
  return a.entries.size() == b.entries.size() && std::ranges::all_of(a.entries, [&](const auto& entry) {
           const Value* other = b.find(entry.first.bytes());
           return other && equal(entry.second, *other);
         });
}

/// Of what holds others.
class ExtentSum {
 public:
  void add(const Value& held) {
    check_held(held);
    const Extent own = extent_of(held);
    extent_.weight += own.weight;
    extent_.depth = std::max(extent_.depth, own.depth + 1);
    if (extent_.weight > kHeaviestValue) fail("a value is too large");
    if (extent_.depth > kDeepestValue) fail("a value is nested too deep");
  }
  Extent get() const { return extent_; }

 private:
  Extent extent_{kHeld, 1};
};

}  // namespace

void fail(const std::string& problem) {
  throw Problem(problem);
}

Extent extent_of(const Value& value) {
  if (const Text* text = value.text()) return {kHeld + static_cast<std::int64_t>(text->bytes().size()), 0};
  if (const List* list = value.list()) return list->extent;
  if (const Dict* dict = value.dict()) return dict->extent;
  return {kHeld, 0};
}

void check_held(const Value& value) {
  if (value.name_space() || value.function())
    fail(std::string("a ") + value.type_name() + " in a list, dict or namespace is not supported");
}

Value Value::of_list(List list) {
  if (list.items.size() > kMostItems) fail("a list is too long");
  ExtentSum sum;
  for (const Value& item : list.items) sum.add(item);
  list.extent = sum.get();
  return Value(std::shared_ptr<const List>(std::make_shared<List>(std::move(list))));
}

Value Value::dict(Dict dict) {
  ExtentSum sum;
  for (const auto& [key, value] : dict.entries) {
    sum.add(Value(key));
    sum.add(value);
  }
  dict.extent = sum.get();
  return Value(std::shared_ptr<const Dict>(std::make_shared<Dict>(std::move(dict))));
}

Value Value::function(std::string name, std::function<Value(const Arguments&)> call) {
  return Value(std::shared_ptr<const Function>(
      std::make_shared<Function>(Function{std::move(name), std::move(call)})));
}

const Value* Dict::find(const std::string& key) const {
  const auto found = std::ranges::find_if(entries, [&](const auto& e) { return e.first.bytes() == key; });
  return found == entries.end() ? nullptr : &found->second;
}

void Dict::set(const Text& key, Value value) {
  const auto found = std::ranges::find_if(entries, [&](const auto& e) { return e.first == key; });
  if (found == entries.end())
    entries.emplace_back(key, std::move(value));
  else
    found->second = std::move(value);
}

const char* Value::type_name() const {
  static constexpr const char* kNames[] = {"undefined", "None", "bool", "int",       "float",
                                           "str",       "list", "dict", "namespace", "function"};
  if (list() && list()->tuple) return "tuple";
  if (list() && list()->generator) return "generator";
  if (list() && !list()->view.empty()) return list()->view.data();
  return kNames[data_.index()];
}

const Value* Arguments::find(std::size_t place, const std::string& name) const {
  if (place < positional.size()) return &positional[place];
  const auto found = std::ranges::find(named, name, &std::pair<std::string, Value>::first);
  return found == named.end() ? nullptr : &found->second;
}

void Arguments::expect(const std::string& function, const std::vector<std::string>& names) const {
  if (positional.size() > names.size())
    fail(function + " takes at most " + std::to_string(names.size()) + " arguments, found " +
         std::to_string(positional.size()));
  for (const auto& [name, value] : named) {
    const auto found = std::ranges::find(names, name);
    if (found == names.end()) fail(function + " has no argument '" + name + "' that is supported");
    if (found - names.begin() < static_cast<std::ptrdiff_t>(positional.size()))
      fail(function + " is given '" + name + "' twice");
  }
}

namespace {

/// The items of a list; those of a generator once.
const std::vector<Value>& items_of(const List& list) {
  if (list.spent) fail("a generator is gone through twice (| list keeps what it gives)");
  list.spent = list.generator;
  return list.items;
}

}  // namespace

bool is_plain_list(const Value& value) {
  return value.list() && !value.list()->generator && value.list()->view.empty();
}

bool is_indexed(const Value& value) {
  return is_plain_list(value) || (value.list() && value.list()->view == "range");
}

bool truth(const Value& value) {
  if (const Text* text = value.text()) return !text->empty();
  if (const List* list = value.list()) return list->generator || !list->items.empty();
  if (const Dict* dict = value.dict()) return !dict->entries.empty();
  if (is_number(value)) return as_double(value) != 0;
  return !value.is_undefined() && !value.is_none();
}

bool equal(const Value& a, const Value& b) {
  std::int64_t x = 0, y = 0;
  const std::int64_t *i = as_integer(a, x), *j = as_integer(b, y);
  if (i && j) return *i == *j;
  if (is_number(a) && is_number(b)) return as_double(a) == as_double(b);
  if (a.text() && b.text()) return *a.text() == *b.text();
  if (a.list() && b.list())
    return a.list()->tuple == b.list()->tuple && a.list()->view == b.list()->view &&
           std::ranges::equal(a.list()->items, b.list()->items, equal);
  if (a.dict() && b.dict()) return equal_dicts(*a.dict(), *b.dict());
  if (a.name_space() || b.name_space()) return a.name_space() == b.name_space();
  if (a.function() || b.function()) return a.function() == b.function();
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

bool less(const Value& a, const Value& b) {
  if (a.text() && b.text()) return *a.text() < *b.text();
  if (!is_number(a) || !is_number(b))
    fail(std::string("'<' is not supported between ") + a.type_name() + " and " + b.type_name());
  std::int64_t x = 0, y = 0;
  const std::int64_t *i = as_integer(a, x), *j = as_integer(b, y);
  return i && j ? *i < *j : as_double(a) < as_double(b);
}

bool contains(const Value& container, const Value& item) {
  if (const Text* text = container.text()) {
    if (!item.text()) fail(std::string("'in <string>' requires a string, found ") + item.type_name());
    return text->bytes().find(item.text()->bytes()) != std::string::npos;
  }
  if (const List* list = container.list())
    return std::ranges::any_of(items_of(*list), [&](const Value& value) { return equal(value, item); });
  if (container.dict() && (item.list() || item.dict()))
    fail(std::string("a ") + item.type_name() + " is no key of a dict");
  if (const Dict* dict = container.dict()) return item.text() && dict->find(item.text()->bytes());
  if (container.is_undefined()) return false;
  fail(std::string("'in' is not supported for ") + container.type_name());
}

std::vector<Value> elements(const Value& value) {
  std::vector<Value> items;
  if (const List* list = value.list()) return items_of(*list);
  if (const Dict* dict = value.dict()) {
    for (const auto& entry : dict->entries) items.emplace_back(entry.first);
  } else if (const Text* text = value.text()) {
    const std::vector<std::size_t> starts = character_starts(text->bytes());
    if (starts.size() > kMostItems) fail("a text is too long to be gone through");
    for (std::size_t i = 0; i + 1 < starts.size(); ++i)
      items.emplace_back(text->part(starts[i], starts[i + 1]));
  } else if (!value.is_undefined()) {
    fail(std::string(value.type_name()) + " cannot be iterated over");
  }
  return items;
}

std::int64_t length_of(const Value& value) {
  if (const Dict* dict = value.dict()) return static_cast<std::int64_t>(dict->entries.size());
  if (const List* list = value.list(); list && !list->generator)
    return static_cast<std::int64_t>(list->items.size());
  if (const Text* text = value.text())
    return static_cast<std::int64_t>(character_starts(text->bytes()).size()) - 1;
  if (value.is_undefined()) return 0;
  fail(std::string(value.type_name()) + " has no length");
}

std::int64_t integer_of(const Value& value, const std::string& what) {
  std::int64_t storage = 0;
  if (const std::int64_t* integer = as_integer(value, storage)) return *integer;
  fail(what + " is not an integer but " + value.type_name());
}

}  // namespace stagformer::internal::jinja
