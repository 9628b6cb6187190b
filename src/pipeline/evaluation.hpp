// Log-probabilities of given texts: windows of tokens, all of their positions scored.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "pipeline/scored_passes.hpp"

namespace stagformer::internal {

/// Tokens of one window, BOS included; every token but the first is predicted.
using Window = std::vector<std::int32_t>;

/// Cuts a text's tokens into windows of `length` tokens, each begun by `bos` (which counts) where bos >= 0. A
/// last window that predicts nothing is left out.
std::vector<Window> cut_windows(std::span<const std::int32_t> tokens, std::int64_t length, std::int64_t bos);

/// Log-probabilities of a window's tokens 1, 2, ...: one value a predicted token.
using WindowScores = std::vector<float>;

class Evaluator {
 public:
  /// `lookahead` must be the engine's. recurrent_after: positions of a window that run all passes (recurrent
  /// decoding).
  Evaluator(Engine& engine, const EngineOptions& options, int lookahead, std::int64_t recurrent_after);

  /// Scores the windows; all ranks of the replica get the result. Throws NumericError for logits that are not
  /// finite.
  /// progress: called after every pass with the windows that have gone through.
  std::vector<WindowScores> score(std::span<const Window> windows,
                                  const std::function<void(std::size_t done)>& progress);

  /// A rank asked to stop, and all ranks did after the same pass: the scores are not complete.
  bool stopped() const { return passes_.stopped(); }

  /// Read-outs that a rank may put off in scoring, so that the ranks work on neighbouring chunks at the same
  /// time.
  static int lookahead_of(const RankPart& part) { return part.ranks - 1 - part.rank; }

 private:
  void score_group(std::span<const Window> windows, std::size_t first);
  void prefill(std::span<const Window> windows, std::size_t window, int slot);
  void decode(std::span<const Window> windows, std::size_t first, std::size_t count);
  void add_row(std::span<const Window> windows, std::size_t window, int slot, std::int64_t position);
  void run(PassKind kind);
  void take(const ScoredPasses::Place& place, const ReadoutResult& result);

  const EngineOptions& options_;
  std::int64_t recurrent_after_;
  ScoredPasses passes_;
  std::function<void(std::size_t done)> progress_;
  std::size_t done_ = 0;
  std::vector<WindowScores> scores_;
};

}  // namespace stagformer::internal
