#include "text/penalties.hpp"

namespace stagformer::internal {

TokenHistory::Entry& TokenHistory::entry_of(std::int32_t token) {
  const auto [place, inserted] = places_.try_emplace(token, entries_.size());
  if (inserted) entries_.push_back({token, 0});
  return entries_[place->second];
}

void TokenHistory::add_prompt(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) entry_of(token);
}

void TokenHistory::add_generated(std::int32_t token) {
  ++entry_of(token).generated;
}

bool has_penalties(const SamplingParams& params) {
  return params.repetition_penalty != 1 || params.presence_penalty != 0 || params.frequency_penalty != 0;
}

void apply_penalties(std::span<float> logits, const VocabularySlice& slice, const SamplingParams& params,
                     const TokenHistory& history) {
  for (const TokenHistory::Entry& entry : history.entries()) {
    if (entry.id < slice.row_begin() || entry.id >= slice.row_end()) continue;
    float& logit = logits[static_cast<std::size_t>(entry.id - slice.row_begin())];
    logit = logit < 0 ? logit * params.repetition_penalty : logit / params.repetition_penalty;
    if (entry.generated == 0) continue;
    logit -= params.frequency_penalty * static_cast<float>(entry.generated);
    logit -= params.presence_penalty;
  }
}

}  // namespace stagformer::internal
