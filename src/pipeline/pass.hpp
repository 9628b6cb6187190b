// The unit of work of the engine: a batch of rows that all sections go through once. A decode step is a pass
// with one row a sequence; a chunk of a prompt is a pass with many rows of one sequence.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "model/batch.hpp"
#include "pipeline/options.hpp"
#include "text/penalties.hpp"
#include "text/sampling.hpp"

namespace stagformer::internal {

/// A row whose logits are wanted.
struct ReadoutRow {
  std::int32_t row = 0;     ///< index in the pass
  SamplingParams sampling;  ///< used where a token is to be chosen
  SamplingKey key;
  std::int32_t target = -1;      ///< >= 0: score this token instead of choosing one
  bool log_probability = false;  ///< report the chosen token's log-probability too
  /// Of the sequence, for penalties; null where there are none. Must live until the read-out is done.
  const TokenHistory* history = nullptr;
  std::int32_t top = 0;  ///< likeliest tokens to report; at most EngineOptions::top
};

enum class PassKind {
  exact,      ///< all sections
  recurrent,  ///< the last section alone, its memory continued with its own outputs
  draft,  ///< the same, to guess tokens that an exact pass then checks: only the last section's rank runs it
};

struct Pass {
  std::span<const Row> rows;  ///< rows of one sequence side by side, positions ascending without gaps
  std::span<const std::int32_t> tokens;  ///< one a row
  std::span<const ReadoutRow> readouts;
  PassKind kind = PassKind::exact;
};

/// How a decode step of a run goes.
inline PassKind step_kind(DecodeMode mode) {
  return mode == DecodeMode::recurrent ? PassKind::recurrent : PassKind::exact;
}

struct ReadoutResult {
  std::int32_t token = -1;    ///< chosen, or the target
  float log_probability = 0;  ///< of `token`, natural logarithm; 0 where not asked for
  std::int32_t finite = 1;    ///< 0: the logits held a value that is not finite
  std::int32_t greedy = 0;    ///< 1: the target is what a greedy choice takes
};

struct ReadoutOutcome {
  std::span<const ReadoutResult> results;  ///< one a ReadoutRow, valid until the next read-out
  std::span<const TopToken> top;  ///< [results.size()][EngineOptions::top]; id -1 where fewer were asked for
  bool stop_requested = false;    ///< some rank of the replica was asked to stop
};

}  // namespace stagformer::internal
