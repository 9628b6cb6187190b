// Passes over given tokens, and what their read-outs bring back. A rank may run ahead of its read-outs, so
// that the ranks work on neighbouring passes at the same time; all ranks stop after the same pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "pipeline/engine.hpp"

namespace stagformer::internal {

class ScoredPasses {
 public:
  /// Whose row it was: the token at position + 1 of the sequence is what was scored.
  struct Place {
    std::size_t sequence;
    std::int64_t position;
  };
  using OnScore = std::function<void(const Place&, const ReadoutResult&)>;

  /// `lookahead` must be the engine's.
  ScoredPasses(Engine& engine, int lookahead, OnScore on_score);

  /// A row of the next pass. target < 0: its logits are not wanted.
  void add(std::size_t sequence, const Row& row, std::int32_t token, std::int32_t target);
  /// Rows added since the last pass.
  std::size_t rows() const { return rows_.size(); }
  void run(PassKind kind);
  /// Collects what is outstanding, so that all ranks may leave.
  void finish();

  /// No pass may follow.
  bool ended() const { return last_pass_ && passes_ >= *last_pass_; }
  /// A rank asked to stop: the scores are not complete.
  bool stopped() const { return last_pass_.has_value(); }

 private:
  void collect_one();

  Engine& engine_;
  int lookahead_;
  OnScore on_score_;
  std::int64_t passes_ = 0, collected_ = 0;  // with read-outs: run, and read out
  std::optional<std::int64_t> last_pass_;    // of these to be run, once a rank has asked for the end
  std::vector<Row> rows_;
  std::vector<std::int32_t> tokens_;
  std::vector<ReadoutRow> readouts_;
  std::vector<Place> places_;                   // of readouts_
  std::deque<std::vector<Place>> outstanding_;  // of passes that were not read out yet, oldest first
};

}  // namespace stagformer::internal
