// JSON that others wrote, with complaints that name the file and the key.
#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>

namespace stagformer::internal {

/// One JSON object. CheckpointError for text that is none, is nested deeper than `deepest`, or gives a key of
/// an object twice.
nlohmann::json parse_json_object(const std::string& file, std::span<const std::byte> text, int deepest);

/// Fields of an object, each of the type that is asked for; null counts as missing. Borrows the object.
class JsonFields {
 public:
  /// `path` stands in front of keys in messages: "rope_scaling.", or nothing.
  JsonFields(const std::string& file, const nlohmann::json& object, std::string path = "");

  const nlohmann::json* find(const std::string& key) const;
  std::optional<std::int64_t> find_integer(const std::string& key) const;
  std::optional<double> find_number(const std::string& key) const;
  std::optional<bool> find_boolean(const std::string& key) const;
  std::optional<std::string> find_text(const std::string& key) const;
  /// The same for keys that must be there.
  std::int64_t integer(const std::string& key) const;
  double number(const std::string& key) const;

  [[noreturn]] void refuse(const std::string& key, const std::string& problem) const;
  const std::string& file() const { return file_; }

 private:
  std::string file_;
  const nlohmann::json& object_;
  std::string path_;
};

}  // namespace stagformer::internal
