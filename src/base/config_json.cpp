#include "base/config_json.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

namespace stagformer::internal {
namespace {

using nlohmann::json;

constexpr std::size_t kShownCharacters = 60;
constexpr int kDeepest = 64;  // what is nested deeper would overflow the stack where it is shown

/// The value as it is shown in a message: short, and valid UTF-8 whatever was in the file.
std::string shown(const json& value) {
  std::string text = value.dump(-1, ' ', true, json::error_handler_t::replace);
  if (text.size() > kShownCharacters) text = text.substr(0, kShownCharacters) + "...";
  return text;
}

/// Follows the parser through nested objects and refuses a key that an object has had already.
class Guard {
 public:
  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > kDeepest) throw ConfigError("configuration: the JSON is nested too deeply");
    if (event == json::parse_event_t::object_start) seen_.emplace_back();
    if (event == json::parse_event_t::object_end) seen_.pop_back();
    if (event == json::parse_event_t::key && !seen_.back().insert(parsed.get<std::string>()).second)
      throw ConfigError("configuration: key " + shown(parsed) + " is given twice");
    return true;
  }

 private:
  std::vector<std::set<std::string>> seen_;  // one set for each object that is still open
};

}  // namespace

void wrong_type(const std::string& path, const char* expected, const json& found) {
  throw ConfigError("configuration: key '" + path + "' must be " + expected + ", found " + found.type_name() +
                    " " + shown(found));
}

void bad_value(const std::string& path, const std::string& problem) {
  throw ConfigError("configuration: key '" + path + "' " + problem);
}

json parse_object(std::string_view text) {
  json root;
  try {
    root = json::parse(text.begin(), text.end(),
                       [watch = Guard()](int depth, json::parse_event_t event, json& parsed) mutable {
                         return watch(depth, event, parsed);
                       });
  } catch (const json::exception& failure) {
    throw ConfigError(std::string("configuration: not valid JSON: ") + failure.what());
  }
  if (!root.is_object())
    throw ConfigError("configuration: must be a JSON object, found " + std::string(root.type_name()) + " " +
                      shown(root));
  return root;
}

ObjectReader::ObjectReader(const json& object, std::string path, std::initializer_list<const char*> known)
    : object_(object), path_(std::move(path)) {
  if (!object.is_object()) wrong_type(path_, "an object", object);
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    std::string message = "configuration: unknown key '" + path_of(key.c_str()) + "' (known here:";
    for (const char* name : known) message += std::string(name == *known.begin() ? " " : ", ") + name;
    throw ConfigError(message + ")");
  }
}

const json* ObjectReader::find(const char* key) const {
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

const json* ObjectReader::find_or_null(const char* key) const {
  const json* value = find(key);
  return value && value->is_null() ? nullptr : value;
}

const json& ObjectReader::require(const char* key) const {
  const json* value = find(key);
  if (!value) throw ConfigError("configuration: missing key '" + path_of(key) + "'");
  return *value;
}

std::int64_t ObjectReader::integer(const char* key) const {
  return as_integer(require(key), path_of(key));
}

std::int64_t ObjectReader::integer(const char* key, std::int64_t missing) const {
  const json* value = find(key);
  return value ? as_integer(*value, path_of(key)) : missing;
}

double ObjectReader::number(const char* key) const {
  return as_number(require(key), path_of(key));
}

double ObjectReader::number(const char* key, double missing) const {
  const json* value = find(key);
  return value ? as_number(*value, path_of(key)) : missing;
}

bool ObjectReader::boolean(const char* key, bool missing) const {
  const json* value = find(key);
  if (!value) return missing;
  if (!value->is_boolean()) wrong_type(path_of(key), "true or false", *value);
  return value->get<bool>();
}

std::string ObjectReader::text(const char* key, const char* missing) const {
  const json* value = find(key);
  return value ? as_text(*value, path_of(key)) : missing;
}

std::int64_t as_integer(const json& value, const std::string& path) {
  if (!value.is_number_integer()) wrong_type(path, "an integer", value);
  const bool huge = value.is_number_unsigned() && value.get<std::uint64_t>() > std::uint64_t{kLargestSize};
  if (huge || value.get<std::int64_t>() < -kLargestSize)
    bad_value(path, "is beyond what is supported (2147483648): " + shown(value));
  return value.get<std::int64_t>();
}

double as_number(const json& value, const std::string& path) {
  if (!value.is_number()) wrong_type(path, "a number", value);
  const double number = value.get<double>();
  // The arithmetic is in float: a value that overflows there is as good as infinite.
  if (!std::isfinite(number) || std::abs(number) > std::numeric_limits<float>::max())
    bad_value(path, "must be finite in single precision, found " + shown(value));
  return number;
}

std::string as_text(const json& value, const std::string& path) {
  if (!value.is_string()) wrong_type(path, "a string", value);
  return value.get<std::string>();
}

}  // namespace stagformer::internal
