// What a step or a prompt costs in bytes and operations, counted from the model, not measured.
#pragma once

#include <cstdint>

#include "checkpoint/index.hpp"
#include "pipeline/benchmark.hpp"
#include "pipeline/options.hpp"
#include "pipeline/rank_model.hpp"

namespace stagformer::internal {

/// Bytes that one rank reads in one decode step.
struct StepBytes {
  std::int64_t weights = 0;  ///< as stored in the checkpoint: padding left out, embedding rows too
  std::int64_t caches = 0;   ///< keys and values of all sequences, at the middle step
  std::int64_t total() const { return weights + caches; }
};
StepBytes step_bytes(const CheckpointIndex& index, const RankPart& part, const EngineOptions& options,
                     const BenchPoint& point);

/// Operations of one replica's prompts: two a multiply-add of products and attention; the head once a prompt.
double prefill_operations(const CheckpointIndex& index, const BenchPoint& point);

}  // namespace stagformer::internal
