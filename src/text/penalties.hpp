// Penalties on tokens that a sequence holds already. Every rank knows the sequence, so each changes the
// logits of its own slice of the vocabulary, and the choice stays the same for every number of ranks.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "text/sampling.hpp"

namespace stagformer::internal {

/// The distinct tokens of one sequence.
class TokenHistory {
 public:
  struct Entry {
    std::int32_t id = -1;
    std::int32_t generated = 0;  ///< how often it was generated; the prompt does not count
  };

  void add_prompt(std::span<const std::int32_t> tokens);
  void add_generated(std::int32_t token);
  std::span<const Entry> entries() const { return entries_; }

 private:
  Entry& entry_of(std::int32_t token);

  std::vector<Entry> entries_;
  std::unordered_map<std::int32_t, std::size_t> places_;
};

bool has_penalties(const SamplingParams& params);

/// logits: [slice.rows()]. First the repetition penalty on all tokens of the sequence (a positive logit is
/// divided by it, a negative one multiplied), then frequency and presence are taken off those generated.
void apply_penalties(std::span<float> logits, const VocabularySlice& slice, const SamplingParams& params,
                     const TokenHistory& history);

}  // namespace stagformer::internal
