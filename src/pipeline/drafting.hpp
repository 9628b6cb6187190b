// Guessing tokens ahead: the last section goes on alone, taking its own outputs for the memory that the
// section before it has not sent, and all ranks then check the guesses as rows of one exact pass. A guess
// that the exact pass would not have chosen is dropped with all behind it, so the text is what plain decoding
// gives.
//
// With the last section's rank L, two guesses a and b behind the token x, on two ranks:
//
//     rank 0       waits ...................  S0(x a b) ---.                       R takes x' and what was
//     right rank L   D(x) -> a   D(a) -> b  ---------------------- S1(x a b) R -------'  then D of the next
//
// A staggered section reads memory of earlier positions only, so the first guess is always right. The guesses
// cost one message; that is what they save where links are slow (docs/results.md has the figures).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/collective.hpp"
#include "pipeline/engine.hpp"

namespace stagformer::internal {

/// Where a sequence stands: its newest token, which no pass has seen.
struct DraftStart {
  Row row;
  std::int32_t token = 0;
  SamplingParams sampling;
  SamplingKey key;         ///< of the token behind `token`
  std::int32_t count = 0;  ///< guesses wanted, at most EngineOptions::draft
};

class Drafter {
 public:
  /// The engine must run with --head last where there are several ranks.
  Drafter(Engine& engine, Transport& replica, const EngineOptions& options);

  /// Collective. The guesses for starts[i] are [i * options.draft, i * options.draft + starts[i].count),
  /// valid until the next call.
  std::span<const std::int32_t> run(std::span<const DraftStart> starts);

 private:
  void guess(std::span<const DraftStart> starts);
  void guess_next(std::span<const DraftStart> starts, std::int32_t step);
  void share(std::size_t bytes);

  Engine& engine_;
  const bool guesses_;  // this rank holds the last section
  const std::size_t stride_;
  std::vector<std::int32_t> drafts_;  // [start][stride]
  std::vector<Row> rows_;
  std::vector<std::int32_t> tokens_;
  std::vector<ReadoutRow> readouts_;
  std::vector<std::size_t> start_of_;    // of each row
  std::unique_ptr<TreeBroadcast> tree_;  // to the other ranks
};

}  // namespace stagformer::internal
