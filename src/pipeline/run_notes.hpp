// What to change, read off from where the ranks' time went: one line a finding, with its figures. Says
// nothing about short runs and nothing that the figures do not show.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/phase_clock.hpp"
#include "pipeline/options.hpp"

namespace stagformer::internal {

/// One rank's run.
struct RankUse {
  std::string host;
  int replica = 0;
  int first_section = 0, sections = 1;
  int threads = 1;
  bool shares_cores = false;      ///< more threads than cores, together with the host's other ranks
  std::int64_t weight_bytes = 0;  ///< of its sections
  PhaseClock::Seconds phases{};
};

/// A whole run, ranks in order.
struct RunUse {
  std::vector<RankUse> ranks;
  std::int64_t passes = 0;  ///< of the rank that made most
  HeadMode head = HeadMode::sliced;
  Schedule schedule = Schedule::staggered;
  bool chained = false;          ///< some link is
  bool can_draft = false;        ///< the model can guess ahead, and was not asked to
  int draft = 0;                 ///< guesses that were asked for
  int sequences = 1;             ///< at a time
  std::int64_t state_bytes = 0;  ///< of a step's hidden states: the largest regular message
};

/// In order of weight: what spoils the other figures comes first.
std::vector<std::string> run_notes(const RunUse& run);

}  // namespace stagformer::internal
