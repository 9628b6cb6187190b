// When each rank of a replica does what, computed from the times of its parts: the engine's decode step and
// its prompts, message by message, for any number of ranks. Nothing is run.
//
// Every time is that of the event that lets it begin plus its own: a rank's layers begin when it knows the
// token and has the memory of the step before (staggered) or this position's hidden states (chained,
// sequential); the head begins when z has come down the tree; a round of the candidates' exchange when the
// partner's message is here. The order of events is that of the code (engine.hpp, read_out.hpp,
// comm/collective.hpp), so no queue is needed.
#pragma once

#include <cstdint>
#include <vector>

#include "pipeline/link_model.hpp"
#include "pipeline/options.hpp"
#include "pipeline/rank_work.hpp"

namespace stagformer::internal {

/// Bytes of the messages.
struct StepMessages {
  double hidden = 0;      ///< to the next rank: hidden states of all rows
  double z = 0;           ///< final hidden states of the rows that are read out
  double record = 0;      ///< a rank's candidates; under --head last the chosen tokens
  bool combined = false;  ///< linear_combination: outputs are summed over all ranks by a tree
};

struct Timeline {
  double step_s = 0;            ///< from a step's beginning to the next one's, once it is steady
  std::vector<double> waits_s;  ///< by rank: of a step, what it neither computes nor chooses
};

/// Decode steps of one replica, one entry of `work` a rank.
Timeline decode_timeline(const std::vector<RankWork>& work, const StepMessages& messages, HeadMode head,
                         const LinkModel& link);

/// Seconds until a prompt of `chunks` equal chunks is through and its token is chosen. `work` is a chunk's;
/// head_s and choice_s count once.
double prompt_seconds(const std::vector<RankWork>& work, const StepMessages& messages, HeadMode head,
                      const LinkModel& link, std::int64_t chunks);

}  // namespace stagformer::internal
