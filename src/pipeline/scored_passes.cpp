#include "pipeline/scored_passes.hpp"

#include <utility>

namespace stagformer::internal {

ScoredPasses::ScoredPasses(Engine& engine, int lookahead, OnScore on_score)
    : engine_(engine), lookahead_(lookahead), on_score_(std::move(on_score)) {}

void ScoredPasses::add(std::size_t sequence, const Row& row, std::int32_t token, std::int32_t target) {
  if (target >= 0) {
    ReadoutRow readout;
    readout.row = static_cast<std::int32_t>(rows_.size());
    readout.target = target;
    readouts_.push_back(readout);
    places_.push_back({sequence, row.position});
  }
  rows_.push_back(row);
  tokens_.push_back(token);
}

void ScoredPasses::run(PassKind kind) {
  engine_.run_sections({rows_, tokens_, readouts_, kind});
  if (!readouts_.empty()) {
    outstanding_.push_back(std::exchange(places_, {}));
    ++passes_;
  }
  rows_.clear();
  tokens_.clear();
  readouts_.clear();
  while (engine_.pending_read_outs() > lookahead_) collect_one();
}

void ScoredPasses::finish() {
  while (engine_.pending_read_outs() > 0) collect_one();
  engine_.drain();
}

void ScoredPasses::collect_one() {
  const ReadoutOutcome outcome = engine_.read_out();
  ++collected_;
  // All ranks see the stop in the same read-out, but rank 0 has run ahead the most: the others follow up to
  // there.
  if (outcome.stop_requested && !last_pass_) last_pass_ = collected_ + engine_.part().ranks - 1;
  const std::vector<Place>& places = outstanding_.front();
  for (std::size_t i = 0; i < places.size(); ++i) on_score_(places[i], outcome.results[i]);
  outstanding_.pop_front();
}

}  // namespace stagformer::internal
