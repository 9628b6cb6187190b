// Settings as plain structs. Each struct lists its fields once, in visit(): name, value, range and help. The
// command-line parser, the settings file, the environment, the log's echo and the JSON record are all
// visitors over that list.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace stagformer::internal {

/// Names are those of the flags, without dashes in front: "max-tokens". An empty optional means "not given".
class SettingsVisitor {
 public:
  using Choices = std::vector<const char*>;
  virtual ~SettingsVisitor() = default;

  virtual void text(const char* name, std::optional<std::string>& value, const char* help,
                    bool required = false) = 0;
  virtual void choice(const char* name, std::string& value, const Choices& choices, const char* help) = 0;
  virtual void integer(const char* name, std::int64_t& value, std::int64_t least, std::int64_t most,
                       const char* help) = 0;
  virtual void integer(const char* name, std::optional<std::int64_t>& value, std::int64_t least,
                       std::int64_t most, const char* help) = 0;
  virtual void number(const char* name, double& value, double least, double most, const char* help) = 0;
  virtual void flag(const char* name, bool& value, const char* help) = 0;
  virtual void list(const char* name, std::vector<std::string>& values, const char* help) = 0;
};

inline constexpr std::int64_t kAnyInteger = std::numeric_limits<std::int64_t>::max();

/// "8589934592", "8G", "512MiB", "1.5G": bytes; binary units. Throws UsageError naming the setting.
std::int64_t parse_bytes(const char* setting, const std::string& text);

}  // namespace stagformer::internal
