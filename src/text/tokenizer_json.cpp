#include "text/tokenizer_json.hpp"

#include "stagformer/error.hpp"
#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

constexpr int kDeepest = 64;  // tokenizer files need about six levels

}  // namespace

JsonNode JsonNode::at(const std::string& key) const {
  const auto found = object().value().find(key);
  if (found == value_->end()) refuse("'" + key + "' is missing");
  return {*found, path_.empty() ? key : path_ + "." + key};
}

std::optional<JsonNode> JsonNode::find(const std::string& key) const {
  const auto found = object().value().find(key);
  if (found == value_->end() || found->is_null()) return std::nullopt;
  return at(key);
}

JsonNode JsonNode::element(std::size_t index) const {
  return {(*value_)[index], path_ + "[" + std::to_string(index) + "]"};
}

const std::string& JsonNode::string() const {
  if (!value_->is_string()) refuse("must be a string");
  return value_->get_ref<const std::string&>();
}

std::int64_t JsonNode::integer() const {
  if (!value_->is_number_integer()) refuse("must be an integer");
  return value_->get<std::int64_t>();
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) refuse("must be true or false");
  return value_->get<bool>();
}

const JsonNode& JsonNode::array() const {
  if (!value_->is_array()) refuse("must be a list");
  return *this;
}

const JsonNode& JsonNode::object() const {
  if (!value_->is_object()) refuse("must be an object");
  return *this;
}

bool JsonNode::flag(const std::string& key, bool fallback) const {
  const auto node = find(key);
  return node ? node->boolean() : fallback;
}

void JsonNode::refuse(const std::string& problem) const {
  throw CheckpointError("tokenizer/model: " + (path_.empty() ? "" : path_ + ": ") + quotable(problem));
}

void JsonNode::refuse_type() const {
  refuse("type '" + at("type").string() + "' is not supported");
}

nlohmann::json parse_tokenizer_json(std::span<const std::byte> text) {
  const auto* begin = reinterpret_cast<const char*>(text.data());
  const auto shallow = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) {
    if (depth > kDeepest) throw CheckpointError("tokenizer/model: the JSON is nested too deeply");
    return true;
  };
  try {
    return nlohmann::json::parse(begin, begin + text.size(), shallow);
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError("tokenizer/model: not valid JSON: " + quotable(error.what()));
  }
}

}  // namespace stagformer::internal
