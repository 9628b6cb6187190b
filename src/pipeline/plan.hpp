// What a grid would cost: memory, messages and times, from the model's shapes and a machine's speeds.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/index.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/machine.hpp"
#include "pipeline/options.hpp"

namespace stagformer::internal {

struct PlanRequest {
  EngineOptions options;  ///< head may be automatic; both schedules are planned
  BenchPoint point;
  bool simulate = false;  ///< decode steps by simulation too
};

/// Of the rank that has the most of it, where ranks differ.
struct GridPlan {
  Grid grid;
  bool chained = false;  ///< a link between two ranks is
  std::string machine;
  int threads = 1;
  HeadMode head = HeadMode::sliced;
  std::int64_t weight_bytes = 0;                 ///< read in a step
  std::int64_t cache_bytes = 0;                  ///< kept
  std::int64_t memory_bytes = 0;                 ///< in all, buffers included
  std::int64_t messages = 0, message_bytes = 0;  ///< sent in a step
  double staggered_s = 0, sequential_s = 0;      ///< a decode step
  double simulated_s = 0;                        ///< the same two steps by simulation, where asked for
  double simulated_sequential_s = 0;
  double waiting_s = 0;     ///< of a staggered step, mean of the ranks
  double prompt_s = 0;      ///< until its first token
  double tokens_per_s = 0;  ///< of all replicas, staggered
  /// The ordinary pipeline filled: the batch dealt to as many groups as a replica has ranks, one at each
  /// rank. 0 where the batch is smaller than that.
  double filled_tokens_per_s = 0;
  double tensor_parallel_s = 0;  ///< the same layers without cross-attention, every matrix cut over the ranks
};

GridPlan plan_grid(const CheckpointIndex& index, const Grid& grid, const PlanRequest& request,
                   const Machine& machine);

/// What the plans say to a user, in sentences: the fastest, the smallest that is nearly as fast, the one that
/// makes most of its cores.
std::vector<std::string> advice(const std::vector<GridPlan>& plans);

}  // namespace stagformer::internal
