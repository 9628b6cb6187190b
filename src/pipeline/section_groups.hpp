// Which sections of a rank do their part of a decode step as one batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "pipeline/options.hpp"
#include "pipeline/rank_model.hpp"

namespace stagformer::internal {

/// Own sections [first, first + count) with the same weights, whose steps do not need each other's: they run
/// as one batch, so that each weight is read once for all of them.
struct SectionGroup {
  std::size_t first = 0, count = 1;  ///< first: from the rank's first section
};

/// Whether section s > 0 can do a decode step beside section s - 1: it reads only what that one did in
/// earlier steps, and nothing asks for an order.
bool step_runs_beside(const ModelConfig& config, const EngineOptions& options, int section);

/// The rank's sections in order.
std::vector<SectionGroup> group_sections(const RankModel& model, const EngineOptions& options);
std::int64_t largest(const std::vector<SectionGroup>& groups);

}  // namespace stagformer::internal
