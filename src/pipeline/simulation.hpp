// A decode step of the engine itself in virtual time: its own code and messages on any number of ranks, with
// the computing and the links of a machine file. The timeline (timeline.hpp) must say the same.
#pragma once

#include "checkpoint/index.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/machine.hpp"
#include "pipeline/options.hpp"

namespace stagformer::internal {

/// Seconds of a steady decode step of one replica at point.depth. options.head must not be automatic. A rank
/// takes a thread, its buffers and some microseconds a message of real time.
double simulated_step_seconds(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                              const BenchPoint& point, const Machine& machine);

}  // namespace stagformer::internal
