// Checked access to tokenizer.json: every complaint names the part by its dotted path.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace stagformer::internal {

/// A borrowed value and where it stands in the file.
class JsonNode {
 public:
  JsonNode(const nlohmann::json& value, std::string path) : value_(&value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return *value_; }
  const std::string& path() const { return path_; }

  JsonNode at(const std::string& key) const;                   ///< refuses where the key is missing
  std::optional<JsonNode> find(const std::string& key) const;  ///< nothing where it is missing or null
  JsonNode element(std::size_t index) const;                   ///< of an array; index < size()
  std::size_t size() const { return value_->size(); }

  const std::string& string() const;
  std::int64_t integer() const;
  bool boolean() const;
  const JsonNode& array() const;
  const JsonNode& object() const;
  bool flag(const std::string& key, bool fallback) const;

  /// Throws CheckpointError "tokenizer/model: PATH: PROBLEM".
  [[noreturn]] void refuse(const std::string& problem) const;
  [[noreturn]] void refuse_type() const;  ///< the value of `type` is not supported

 private:
  const nlohmann::json* value_;
  std::string path_;
};

/// Throws CheckpointError for text that is not JSON.
nlohmann::json parse_tokenizer_json(std::span<const std::byte> text);

}  // namespace stagformer::internal
