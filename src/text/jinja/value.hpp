// What an expression of a template may be: Python's none, bool, int, float, str, list, tuple and dict, a
// function, or undefined. Lists and dicts never change once they are made.
#pragma once

#include <concepts>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "text/jinja/limits.hpp"
#include "text/jinja/text.hpp"

namespace stagformer::internal::jinja {

class Value;
struct Arguments;

struct Undefined {
  std::string name;  ///< of what was looked for
};
struct None {};
struct List {
  std::vector<Value> items;
  bool tuple = false;
  bool generator = false;  ///< of map, select and the like: goes into loops and filters, has no length
  /// What it is in Python where that is no list: "range", "dict_keys". Such a thing prints otherwise.
  std::string_view view = {};
  /// A generator that has been gone through; Python finds nothing in it a second time.
  mutable bool spent = false;
  Extent extent = {};  ///< set where it becomes a Value
};
struct Dict {
  std::vector<std::pair<Text, Value>> entries;  ///< in the order of insertion
  Extent extent = {};                           ///< set where it becomes a Value
  const Value* find(const std::string& key) const;
  void set(const Text& key, Value value);
};
/// namespace(...): the one thing that a template may change.
struct Namespace {
  Dict fields;
};
struct Function {
  std::string name;
  std::function<Value(const Arguments&)> call;
};

class Value {
 public:
  using Variant =
      std::variant<Undefined, None, bool, std::int64_t, double, Text, std::shared_ptr<const List>,
                   std::shared_ptr<const Dict>, std::shared_ptr<Namespace>, std::shared_ptr<const Function>>;

  Value() : data_(Undefined{}) {}
  template <typename T>
  requires(!std::same_as<T, Value>) && std::constructible_from<Variant, std::in_place_type_t<T>, T> Value(
                                           T data)
      : data_(std::in_place_type<T>, std::move(data)) {}
  Value(const char* text) : data_(Text(text)) {}
  /// These four fail for more than limits.hpp allows, and for namespaces and functions in them.
  static Value list(std::vector<Value> items, bool tuple = false) {
    return of_list({std::move(items), tuple});
  }
  static Value generator(std::vector<Value> items) { return of_list({std::move(items), false, true}); }
  static Value view(std::vector<Value> items, std::string_view name) {
    return of_list({std::move(items), false, false, name});
  }
  static Value dict(Dict dict);
  static Value function(std::string name, std::function<Value(const Arguments&)> call);

  template <typename T>
  const T* get() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return get<Undefined>() != nullptr; }
  bool is_none() const { return get<None>() != nullptr; }
  const Text* text() const { return get<Text>(); }
  const List* list() const { return pointee<const List>(); }
  const Dict* dict() const { return pointee<const Dict>(); }
  Namespace* name_space() const { return pointee<Namespace>(); }
  const Function* function() const { return pointee<const Function>(); }

  /// "str", "list", ...: Python's names.
  const char* type_name() const;

 private:
  static Value of_list(List list);
  template <typename T>
  T* pointee() const {
    const auto* pointer = get<std::shared_ptr<T>>();
    return pointer ? pointer->get() : nullptr;
  }
  Variant data_;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;

  /// The one at `place` or with that name; null where there is none.
  const Value* find(std::size_t place, const std::string& name) const;
  /// Throws where there are more, or others, than `names`.
  void expect(const std::string& function, const std::vector<std::string>& names) const;
};

Extent extent_of(const Value& value);
/// Fails for what no other value may hold, as it might come to hold itself: a namespace or a function.
void check_held(const Value& value);

/// A list or a tuple.
bool is_plain_list(const Value& value);
/// What has places: these and ranges.
bool is_indexed(const Value& value);
bool truth(const Value& value);
bool equal(const Value& a, const Value& b);
/// Python's a < b; fails for what has no order.
bool less(const Value& a, const Value& b);
/// b in a
bool contains(const Value& container, const Value& item);
/// What a for loop goes over: items, characters, or keys. Undefined has none.
std::vector<Value> elements(const Value& value);
std::int64_t length_of(const Value& value);
/// The whole number that the value must be; `what` names it in the error.
std::int64_t integer_of(const Value& value, const std::string& what);
/// Python's str(value).
Text to_text(const Value& value);
/// Python's repr() of a float: the shortest digits that are this number.
std::string float_text(double number);

struct JsonStyle {
  std::int64_t indent = -1;  ///< < 0: all on one line
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
/// Python's json.dumps(value, ensure_ascii=False). Foreign where any string in it is.
Text to_json_text(const Value& value, const JsonStyle& style);

}  // namespace stagformer::internal::jinja
