// The flags of `chat`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "cli/run_settings.hpp"
#include "cli/sampling_settings.hpp"

namespace stagformer::internal {

struct ChatSettings {
  RunSettings run;
  SamplingSettings sampling;
  std::optional<std::string> system, chat_template;
  std::optional<std::int64_t> max_tokens, context;
  std::vector<std::string> stop;

  void visit(SettingsVisitor& visitor);
  /// Throws UsageError.
  void check() const;
};

}  // namespace stagformer::internal
