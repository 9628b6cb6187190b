// The times of one rank's parts of a step.
#pragma once

#include <cstdint>

namespace stagformer::internal {

/// What one rank does in a step or with a chunk of a prompt, in seconds.
struct RankWork {
  double layers_s = 0;  ///< all own sections, embedding included
  double absorb_s = 0;  ///< making memory of what the rank before sent; 0 where that is part of layers_s
  double head_s = 0;    ///< its slice of the head, or the whole on the last rank under --head last
  double choice_s = 0;  ///< candidates, and the choice among all ranks'
  bool waits = false;   ///< for the hidden states of the same step: a chained link, lag 0, sequential
};

/// What a rank sleeps instead of computing. Choices are really made and take their own time; only where time is
/// simulated do they need choice_s.
struct EmulatedWork {
  RankWork step, chunk;
  std::int64_t chunk_rows = 1;  ///< of `chunk`
};

}  // namespace stagformer::internal
