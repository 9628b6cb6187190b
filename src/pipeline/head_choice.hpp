// --head auto: whether the head is cut over all ranks or stays whole on the last, decided from two
// measurements.
#pragma once

#include <cstdint>
#include <string>

#include "base/thread_team.hpp"
#include "comm/transport.hpp"
#include "pipeline/options.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

/// Collective: one way between rank 0 and the last, seconds, median of several round trips; the same value on
/// all ranks.
double measure_latency_s(Transport& replica);

/// Seconds that one token's whole head takes on this rank, from the speed of a product of the same format on
/// up to 8 MiB.
double measure_head_s(NumberFormat format, std::int64_t vocab_size, std::int64_t hidden_size,
                      const ThreadTeam& team);

struct HeadChoice {
  HeadMode mode = HeadMode::sliced;
  std::string reason;
};

/// Sliced: head / ranks and two hops (z out, candidates back); last: the whole head and one hop (the token
/// out). A hop is a tree of ceil(log2 ranks) latencies.
HeadChoice choose_head_mode(double latency_s, double head_s, int ranks);

}  // namespace stagformer::internal
