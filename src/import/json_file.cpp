#include "import/json_file.hpp"

#include <set>
#include <vector>

#include "import/source_file.hpp"

namespace stagformer::internal {
namespace {

using nlohmann::json;

/// Follows the parser; the parser itself would silently take the last of two equal keys.
class Guard {
 public:
  Guard(const std::string& file, int deepest) : file_(file), deepest_(deepest) {}

  bool operator()(int depth, json::parse_event_t event, json& parsed) {
    if (depth > deepest_) refuse_source(file_, "the JSON is nested too deeply");
    if (event == json::parse_event_t::object_start) seen_.emplace_back();
    if (event == json::parse_event_t::object_end) seen_.pop_back();
    if (event == json::parse_event_t::key && !seen_.back().insert(parsed.get<std::string>()).second)
      refuse_source(file_, "key '" + parsed.get<std::string>() + "' is there twice");
    return true;
  }

 private:
  const std::string& file_;
  int deepest_;
  std::vector<std::set<std::string>> seen_;  // one set for each object that is still open
};

}  // namespace

json parse_json_object(const std::string& file, std::span<const std::byte> text, int deepest) {
  const auto* begin = reinterpret_cast<const char*>(text.data());
  json value;
  try {
    value = json::parse(begin, begin + text.size(), Guard(file, deepest));
  } catch (const json::exception& error) {
    refuse_source(file, std::string("is not valid JSON: ") + error.what());
  }
  if (!value.is_object()) refuse_source(file, "holds no JSON object");
  return value;
}

JsonFields::JsonFields(const std::string& file, const json& object, std::string path)
    : file_(file), object_(object), path_(std::move(path)) {
  if (!object.is_object()) refuse_source(file, "'" + path_ + "' is no object");
}

void JsonFields::refuse(const std::string& key, const std::string& problem) const {
  refuse_source(file_, "'" + path_ + key + "' " + problem);
}

const json* JsonFields::find(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::int64_t> JsonFields::find_integer(const std::string& key) const {
  const json* value = find(key);
  if (!value) return std::nullopt;
  const bool fits = value->is_number_integer() &&
                    (!value->is_number_unsigned() || value->get<std::uint64_t>() <= std::uint64_t{1} << 62);
  if (!fits) refuse(key, "is no integer");
  return value->get<std::int64_t>();
}

std::optional<double> JsonFields::find_number(const std::string& key) const {
  const json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_number()) refuse(key, "is no number");
  return value->get<double>();
}

std::optional<bool> JsonFields::find_boolean(const std::string& key) const {
  const json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) refuse(key, "is neither true nor false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::find_text(const std::string& key) const {
  const json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) refuse(key, "is no text");
  return value->get<std::string>();
}

std::int64_t JsonFields::integer(const std::string& key) const {
  const auto value = find_integer(key);
  if (!value) refuse(key, "is missing");
  return *value;
}

double JsonFields::number(const std::string& key) const {
  const auto value = find_number(key);
  if (!value) refuse(key, "is missing");
  return *value;
}

}  // namespace stagformer::internal
