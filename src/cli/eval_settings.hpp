// What `eval` is asked for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "cli/run_settings.hpp"

namespace stagformer::internal {

struct EvalSettings {
  RunSettings run;
  std::optional<std::string> text, pairs, choices, requests;  // one of them
  std::optional<std::string> per_token, per_item, output, delimiter;
  std::optional<std::int64_t> context, recurrent_after;

  void visit(SettingsVisitor& visitor);
  /// Which flags go together. Throws UsageError.
  void check() const;
  /// --context, or all that the model can hold. Throws InputError for more than that.
  std::int64_t tokens_together(std::int64_t max_context) const;
};

}  // namespace stagformer::internal
