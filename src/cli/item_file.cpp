#include "cli/item_file.hpp"

#include <charconv>
#include <functional>
#include <initializer_list>
#include <sstream>

#include "cli/files.hpp"
#include "cli/json_text.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

class ItemLine {
 public:
  ItemLine(const std::string& path, std::int64_t number, const std::string& line)
      : place_(path + ", line " + std::to_string(number)), object_(parse_json(line)) {
    if (!object_.is_object()) fail("is not a JSON object");
    id_ = object_.value("id", json(number));
    if (!id_.is_string() && !id_.is_number_integer()) fail("\"id\" is neither a string nor an integer");
  }

  [[noreturn]] void fail(const std::string& problem) const { throw InputError(place_ + ": " + problem); }

  EvalItem item() const {
    EvalItem item;
    item.id = id_;
    item.place = place_;
    return item;
  }

  bool has(const char* key) const { return object_.contains(key); }

  std::string text(std::initializer_list<const char*> names) const {
    const auto& [name, value] = field(names);
    if (!value.is_string()) fail("\"" + name + "\" is not a string");
    return value.get<std::string>();
  }

  std::vector<std::string> texts(std::initializer_list<const char*> names) const {
    const auto& [name, value] = field(names);
    if (!value.is_array() || value.size() < 2) fail("\"" + name + "\" is no list of two or more strings");
    std::vector<std::string> all;
    for (const json& each : value) {
      if (!each.is_string() || each.get_ref<const std::string&>().empty())
        fail("\"" + name + "\" has something else than strings that are not empty");
      all.push_back(each.get<std::string>());
    }
    return all;
  }

  /// A number below `count`, or its digits as a string.
  std::size_t label(std::initializer_list<const char*> names, std::size_t count) const {
    const auto& [name, value] = field(names);
    std::size_t number = count;
    if (value.is_number_unsigned()) {
      number = value.get<std::size_t>();
    } else if (value.is_string()) {
      const auto& digits = value.get_ref<const std::string&>();
      const char* end = digits.data() + digits.size();
      if (digits.empty() || std::from_chars(digits.data(), end, number).ptr != end) number = count;
    }
    if (number >= count)
      fail("\"" + name + "\" is " + value.dump(-1, ' ', true) + ", none of the choices 0 to " +
           std::to_string(count - 1));
    return number;
  }

 private:
  /// The first of these keys that is there.
  std::pair<std::string, const json&> field(std::initializer_list<const char*> names) const {
    for (const char* name : names)
      if (object_.contains(name)) return {name, object_.at(name)};
    std::string list;
    for (const char* name : names) list += (list.empty() ? "\"" : " or \"") + std::string(name) + "\"";
    fail("has no " + list);
  }

  std::string place_;
  json object_, id_;
};

std::vector<EvalItem> read_items(const std::string& path,
                                 const std::function<EvalItem(const ItemLine&)>& item_of) {
  std::istringstream in(read_file(path));
  std::vector<EvalItem> items;
  std::string line;
  for (std::int64_t number = 1; std::getline(in, line); ++number)
    if (line.find_first_not_of(" \t\r") != std::string::npos)
      items.push_back(item_of(ItemLine(path, number, line)));
  if (items.empty()) throw InputError(path + " holds no items");
  return items;
}

}  // namespace

std::vector<EvalItem> read_pairs(const std::string& path) {
  return read_items(path, [](const ItemLine& line) {
    EvalItem item = line.item();
    item.endings = {line.text({"sentence_good"}), line.text({"sentence_bad"})};
    for (const std::string& sentence : item.endings)
      if (sentence.empty()) line.fail("a sentence is empty");
    return item;
  });
}

std::vector<EvalItem> read_choices(const std::string& path) {
  return read_items(path, [](const ItemLine& line) {
    EvalItem item = line.item();
    item.context = line.text({"context", "ctx", "query"});
    item.endings = line.texts({"choices", "endings"});
    item.label = line.label({"label", "gold"}, item.endings.size());
    return item;
  });
}

std::vector<EvalItem> read_requests(const std::string& path) {
  return read_items(path, [](const ItemLine& line) {
    EvalItem item = line.item();
    item.whole_text = line.has("text");
    if (item.whole_text && (line.has("context") || line.has("continuation")))
      line.fail("has \"text\" beside \"context\" or \"continuation\"");
    if (!item.whole_text) item.context = line.text({"context"});
    item.endings = {line.text({item.whole_text ? "text" : "continuation"})};
    return item;
  });
}

}  // namespace stagformer::internal
