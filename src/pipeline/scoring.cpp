#include "pipeline/scoring.hpp"

#include <algorithm>
#include <string>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kLeastShared = 4;  // rows; fewer are not worth waiting for a slot
constexpr int kNoSlot = -1;
constexpr int kLongestChain = 32;  // sequences one behind the other in a slot: there are other replicas

/// Rows of `next` that have the same input and, where it is scored, the same target as `previous`.
std::int64_t common_rows(const ScoringSequence& previous, const ScoringSequence& next) {
  const auto parted = std::ranges::mismatch(previous.tokens, next.tokens);
  const std::int64_t rows = std::max<std::int64_t>(0, parted.in2 - next.tokens.begin() - 1);
  const bool earlier = next.first_scored < previous.first_scored;
  return earlier ? std::min(rows, next.first_scored - 1) : rows;
}

}  // namespace

void share_beginnings(std::span<ScoringSequence> sequences, const ModelConfig& config, std::int64_t chunk) {
  std::int64_t highest = 0;  // rows that the slot has held so far
  int chain = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    ScoringSequence& sequence = sequences[i];
    const std::int64_t rows = i > 0 ? common_rows(sequences[i - 1], sequence) : 0;
    const bool torn = config.sections.cross_attention.window && highest - rows > chunk;
    const bool shares = rows >= kLeastShared && chain < kLongestChain && !torn;
    sequence.shared = shares ? rows : 0;
    chain = shares ? chain + 1 : 1;
    highest = shares ? std::max(highest, sequence.rows()) : sequence.rows();
  }
}

Scorer::Scorer(Engine& engine, const EngineOptions& options, int lookahead)
    : options_(options),
      passes_(engine, lookahead, [this](const auto& place, const auto& result) { take(place, result); }) {}

std::vector<SequenceScore> Scorer::score(std::span<const ScoringSequence> sequences,
                                         const std::function<void(std::size_t done)>& progress) {
  sequences_ = sequences;
  next_ = done_ = 0;
  active_.clear();
  free_slots_.clear();
  for (int slot = options_.slots - 1; slot >= 0; --slot) free_slots_.push_back(slot);
  scores_.clear();
  for (const ScoringSequence& sequence : sequences)
    scores_.emplace_back(sequence.tokens.size() - static_cast<std::size_t>(sequence.first_scored));
  for (admit(); !active_.empty() && !passes_.ended(); admit()) {
    fill_pass();
    if (passes_.rows() > 0) passes_.run(PassKind::exact);
    advance();
    if (progress) progress(done_);
  }
  passes_.finish();
  std::vector<SequenceScore> sums;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    copy_shared(i);
    sums.push_back(sum(i));
  }
  return sums;
}

/// Sequences that begin anew take the free slots; those that share a beginning follow in their slot.
void Scorer::admit() {
  while (!free_slots_.empty() && next_ < sequences_.size()) {
    active_.push_back({next_, 0, free_slots_.back()});
    free_slots_.pop_back();
    do ++next_;
    while (next_ < sequences_.size() && sequences_[next_].shared > 0);
  }
}

void Scorer::fill_pass() {
  std::int64_t room = options_.chunk;
  for (Active& active : active_) {
    const ScoringSequence& sequence = sequences_[active.sequence];
    const std::int64_t end = std::min(active.next_row + room, sequence.rows());
    room -= end - active.next_row;
    for (; active.next_row < end; ++active.next_row) {
      const auto t = static_cast<std::size_t>(active.next_row);
      const bool scored = active.next_row + 1 >= sequence.first_scored;
      passes_.add(active.sequence, {active.slot, active.next_row}, sequence.tokens[t],
                  scored ? sequence.tokens[t + 1] : -1);
    }
  }
}

/// What is through makes room for the sequence that shares its beginning, or for any other.
void Scorer::advance() {
  for (Active& active : active_) {
    if (active.next_row < sequences_[active.sequence].rows()) continue;
    ++done_;
    const std::size_t behind = active.sequence + 1;
    const bool goes_on = behind < sequences_.size() && sequences_[behind].shared > 0;
    if (!goes_on) free_slots_.push_back(active.slot);
    active = {behind, goes_on ? sequences_[behind].shared : 0, goes_on ? active.slot : kNoSlot};
  }
  std::erase_if(active_, [](const Active& active) { return active.slot == kNoSlot; });
}

void Scorer::take(const ScoredPasses::Place& place, const ReadoutResult& result) {
  if (!result.finite)
    throw NumericError("the model gave values that are not finite in sequence " +
                       std::to_string(place.sequence) + " at position " + std::to_string(place.position));
  const std::int64_t target = place.position + 1 - sequences_[place.sequence].first_scored;
  scores_[place.sequence][static_cast<std::size_t>(target)] = {result.log_probability, result.greedy != 0};
}

/// What the shared rows scored stands in front, which is complete by now.
void Scorer::copy_shared(std::size_t i) {
  const ScoringSequence& sequence = sequences_[i];
  for (std::int64_t t = sequence.first_scored; t <= sequence.shared; ++t)
    scores_[i][static_cast<std::size_t>(t - sequence.first_scored)] =
        scores_[i - 1][static_cast<std::size_t>(t - sequences_[i - 1].first_scored)];
}

SequenceScore Scorer::sum(std::size_t i) const {
  SequenceScore sum{0, static_cast<std::int64_t>(scores_[i].size()), 1};
  for (const TokenScore& token : scores_[i]) {
    sum.log_probability += static_cast<double>(token.log_probability);
    if (!token.greedy) sum.greedy = 0;
  }
  return sum;
}

}  // namespace stagformer::internal
