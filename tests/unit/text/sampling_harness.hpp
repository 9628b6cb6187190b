// All ranks of a read-out in one process: slices summarised, records laid side by side, one token picked,
// widened as needed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "text/sampling.hpp"

namespace stagformer::internal {

inline RecordLayout layout_for(std::int64_t vocab, int parts, const SamplingParams& params,
                               std::int64_t candidates, bool raw_sums) {
  RecordLayout layout;
  layout.candidates = candidates;
  layout.blocks = vocabulary_slice(vocab, 0, parts).block_end;
  layout.raw_sums = raw_sums;
  layout.tempered_sums = needs_tempered_sums(params);
  return layout;
}

inline std::vector<std::byte> records_of(std::span<const float> logits, int parts,
                                         const SamplingParams& params, const SamplingKey& key,
                                         const RecordLayout& layout) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  // Dirty bytes: a record must not depend on what was in the buffer before.
  std::vector<std::byte> records(layout.bytes() * static_cast<std::size_t>(parts), std::byte{0xA5});
  for (int part = 0; part < parts; ++part) {
    const VocabularySlice slice = vocabulary_slice(vocab, part, parts);
    const auto own = slice.rows() == 0 ? std::span<const float>()
                                       : logits.subspan(static_cast<std::size_t>(slice.row_begin()),
                                                        static_cast<std::size_t>(slice.rows()));
    summarize_slice(own, slice, params, key, layout,
                    records.data() + layout.bytes() * static_cast<std::size_t>(part));
  }
  return records;
}

struct Choice {
  Pick pick;
  double log_sum = 0;
  int exchanges = 0;
};

/// `candidates`: of the first exchange; 0 = what initial_candidates() says. Doubled until the pick is
/// certain.
inline Choice choose(std::span<const float> logits, int parts, const SamplingParams& params,
                     const SamplingKey& key, std::int64_t candidates = 0, bool raw_sums = true) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  if (candidates == 0) candidates = std::min(initial_candidates(params), vocab);
  Choice choice;
  for (;; candidates *= 2) {
    const RecordLayout layout = layout_for(vocab, parts, params, candidates, raw_sums);
    const std::vector<std::byte> records = records_of(logits, parts, params, key, layout);
    choice.pick = pick_token(records.data(), layout.bytes(), parts, vocab, params, key, layout);
    ++choice.exchanges;
    if (choice.pick.status == Pick::Status::need_more_candidates && choice.exchanges < 30) continue;
    if (raw_sums && choice.pick.status == Pick::Status::ok)
      choice.log_sum = log_sum_exp(records.data(), layout.bytes(), parts, vocab, layout);
    return choice;
  }
}

inline std::vector<float> random_logits(std::int64_t vocab, float spread, std::uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> logits(static_cast<std::size_t>(vocab));
  for (float& logit : logits) logit = normal(generator);
  return logits;
}

}  // namespace stagformer::internal
