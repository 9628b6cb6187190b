// Ranks in virtual time: the program's own code and messages, a clock that jumps. A rank's clock moves when
// it sleeps and when it waits for a message; whatever it really computes takes none of it. So a thousand
// ranks can be studied on one core.
//
// One rank runs at a time, always one whose clock is the least, so that nothing it sees can still change. The
// result depends on nothing but the program.
#pragma once

#include <cstddef>
#include <functional>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// What a message of so many bytes costs.
struct SimulatedLink {
  std::function<double(double)> latency_s;  ///< from the start of the send until the receiver has it
  std::function<double(double)> gap_s;      ///< until the sender goes on
};

/// Runs body on every rank, each a thread of its own. Where one throws, the others' waits throw too, and its
/// exception is rethrown here; so is a CommError where all wait for each other. Sends never wait for their
/// receiver. Transport::split is not supported.
void run_simulated_ranks(int ranks, const SimulatedLink& link, const std::function<void(Transport&)>& body);

}  // namespace stagformer::internal
