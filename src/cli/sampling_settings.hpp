// The flags of how tokens are chosen, which `generate` and `chat` share.
#pragma once

#include <cstdint>

#include "base/settings.hpp"
#include "text/sampling.hpp"

namespace stagformer::internal {

struct SamplingSettings {
  double temperature = 0;
  std::int64_t top_k = 0;
  double top_p = 1, min_p = 0;
  std::int64_t seed = 0;
  double repetition_penalty = 1, presence_penalty = 0, frequency_penalty = 0;

  void visit(SettingsVisitor& visitor);
  SamplingParams params() const;
};

}  // namespace stagformer::internal
