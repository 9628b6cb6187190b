// The flags of `generate`.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/settings.hpp"
#include "cli/run_settings.hpp"
#include "cli/sampling_settings.hpp"
#include "pipeline/generation.hpp"

namespace stagformer::internal {

struct GenerateSettings {
  RunSettings run;
  std::optional<std::string> prompt, prompts, output;
  std::optional<std::int64_t> max_tokens;
  SamplingSettings sampling;
  std::vector<std::string> stop;
  bool ignore_eos = false, no_prefix_sharing = false, token_ids = false, log_probabilities = false;
  std::int64_t draft = 0, top_log_probabilities = 0;
  bool chat = false;
  std::optional<std::string> system, chat_template;
  double max_hours = 0;

  void visit(SettingsVisitor& visitor);
  /// Which go together. Throws UsageError.
  void check() const;
  /// A request without a prompt. max_tokens below 0: as many as fit, at most -max_tokens.
  GenerationRequest defaults() const;
};

}  // namespace stagformer::internal
