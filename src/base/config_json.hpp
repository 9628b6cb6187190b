// Reading a JSON object key by key, with errors that name the key by its dotted path.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "stagformer/error.hpp"

namespace stagformer::internal {

/// No size in a configuration may exceed this.
inline constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;

/// Parses text as one JSON object; a key given twice is an error, since the parser would silently take the
/// last.
nlohmann::json parse_object(std::string_view text);

/// View of one object; the JSON value must outlive it.
class ObjectReader {
 public:
  /// `path` is empty for the root. Throws for a key that is not in `known`.
  ObjectReader(const nlohmann::json& object, std::string path, std::initializer_list<const char*> known);

  std::string path_of(const char* key) const { return path_.empty() ? key : path_ + "." + key; }
  /// The value, or null pointer where the key is missing.
  const nlohmann::json* find(const char* key) const;
  /// As find(), and JSON's null counts as missing.
  const nlohmann::json* find_or_null(const char* key) const;
  const nlohmann::json& require(const char* key) const;

  std::int64_t integer(const char* key) const;
  std::int64_t integer(const char* key, std::int64_t missing) const;
  double number(const char* key) const;
  double number(const char* key, double missing) const;
  bool boolean(const char* key, bool missing) const;
  std::string text(const char* key, const char* missing) const;

 private:
  const nlohmann::json& object_;
  std::string path_;
};

// One value, checked; `path` names it in the error.
std::int64_t as_integer(const nlohmann::json& value, const std::string& path);
double as_number(const nlohmann::json& value, const std::string& path);
std::string as_text(const nlohmann::json& value, const std::string& path);

[[noreturn]] void wrong_type(const std::string& path, const char* expected, const nlohmann::json& found);
[[noreturn]] void bad_value(const std::string& path, const std::string& problem);

}  // namespace stagformer::internal
