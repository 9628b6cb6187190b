// Log-probabilities of parts of sequences: endings of a question, halves of a pair. Many short sequences
// share a pass, each in a slot of its own. A sequence that begins like the one in front of it takes over that
// one's slot and goes on where the two part:
//
//     slot 0   "The cat sat on the" + " mat"          pass 1: all rows
//                                   + " moon"         pass 2: the rows from the last common token on
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "pipeline/scored_passes.hpp"
#include "stagformer/config.hpp"

namespace stagformer::internal {

struct ScoringSequence {
  std::vector<std::int32_t> tokens;
  std::int64_t first_scored = 1;  ///< tokens from here on are scored; at least 1
  std::int64_t shared = 0;        ///< first rows that are those of the sequence in front of it

  /// Rows that go through the model: the last token is scored, never read.
  std::int64_t rows() const { return static_cast<std::int64_t>(tokens.size()) - 1; }
};

/// Of one sequence's scored tokens.
struct SequenceScore {
  double log_probability = 0;  ///< sum of natural logarithms, in the order of the tokens
  std::int64_t tokens = 0;
  std::int64_t greedy = 0;  ///< 1: a greedy choice would have given all of them
};

/// Finds what neighbours have in common and sets `shared`. chunk: EngineOptions::chunk; a memory cache with a
/// window keeps no more behind the window than that.
void share_beginnings(std::span<ScoringSequence> sequences, const ModelConfig& config, std::int64_t chunk);

class Scorer {
 public:
  /// `lookahead` must be the engine's. A pass has up to options.chunk rows of up to options.slots sequences.
  Scorer(Engine& engine, const EngineOptions& options, int lookahead);

  /// All ranks of the replica get the result. The first sequence shares nothing. progress: called after every
  /// pass with the sequences that have gone through. Throws NumericError for logits that are not finite.
  std::vector<SequenceScore> score(std::span<const ScoringSequence> sequences,
                                   const std::function<void(std::size_t done)>& progress);
  bool stopped() const { return passes_.stopped(); }

 private:
  struct Active {
    std::size_t sequence;
    std::int64_t next_row;
    int slot;
  };
  struct TokenScore {
    float log_probability = 0;
    bool greedy = false;
  };
  void admit();
  void advance();
  void fill_pass();
  void take(const ScoredPasses::Place& place, const ReadoutResult& result);
  void copy_shared(std::size_t sequence);
  SequenceScore sum(std::size_t sequence) const;

  const EngineOptions& options_;
  ScoredPasses passes_;
  std::span<const ScoringSequence> sequences_;
  std::vector<std::vector<TokenScore>> scores_;  // [sequence][scored token]
  std::vector<Active> active_;                   // one a slot that is busy
  std::vector<int> free_slots_;
  std::size_t next_ = 0;  // sequence that waits for a slot
  std::size_t done_ = 0;
};

}  // namespace stagformer::internal
