// The times of a rank's parts of a step, from the model's bytes and operations and a machine's speeds.
#pragma once

#include <vector>

#include "checkpoint/index.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/machine.hpp"
#include "pipeline/options.hpp"
#include "pipeline/timeline.hpp"

namespace stagformer::internal {

/// A decode step of every rank of a replica at point.depth. options.head must not be automatic.
std::vector<RankWork> decode_work(const CheckpointIndex& index, const Grid& grid,
                                  const EngineOptions& options, const BenchPoint& point,
                                  const Machine& machine);
/// A chunk of a prompt of point.prompt tokens, at the mean depth.
std::vector<RankWork> chunk_work(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                                 const BenchPoint& point, const Machine& machine);

/// The messages of a pass of `rows` rows of which `read` are read out.
StepMessages messages_of(const ModelConfig& config, const EngineOptions& options, std::int64_t rows,
                         std::int64_t read);

/// A decode step of a replica by the timeline. options.head must not be automatic.
double decode_seconds(const CheckpointIndex& index, const Grid& grid, const EngineOptions& options,
                      const BenchPoint& point, const Machine& machine);

/// The cheaper way of the head by the timeline, where options.head is automatic.
HeadMode chosen_head(const CheckpointIndex& index, const Grid& grid, EngineOptions options,
                     const BenchPoint& point, const Machine& machine);

}  // namespace stagformer::internal
