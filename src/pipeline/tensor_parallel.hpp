// What the other way of sharing a step would cost: every matrix of an ordinary decoder cut over the ranks,
// which add up their parts after each attention and each feed-forward block. Predicted only; the engine does
// not do it.
#pragma once

#include "checkpoint/index.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/machine.hpp"
#include "pipeline/options.hpp"

namespace stagformer::internal {

/// Seconds until every one of `ranks` ranks has the sum of all ranks' `bytes`: the quicker one of recursive
/// doubling (few bytes) and of halving and doubling (many).
double all_reduce_seconds(double bytes, int ranks, const LinkModel& link);

/// A decode step of the model's layers without cross-attention at point.depth, shared by `ranks` ranks.
double tensor_parallel_seconds(const CheckpointIndex& index, int ranks, const EngineOptions& options,
                               const BenchPoint& point, const Machine& machine);

}  // namespace stagformer::internal
