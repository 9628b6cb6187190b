// The part of a model that one rank holds: its sections, the embedding, its slice of the head; and the plan
// of bytes made before any of it is allocated.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/thread_team.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "pipeline/options.hpp"
#include "pipeline/rank_part.hpp"
#include "pipeline/weight_loader.hpp"

namespace stagformer::internal {

/// Bytes that a rank will take.
struct MemoryPlan {
  std::int64_t weights = 0;    ///< packed matrices
  std::int64_t embedding = 0;  ///< rows as stored
  std::int64_t caches = 0;     ///< keys and values of all slots
  std::int64_t buffers = 0;    ///< scratch, messages, logits
  std::int64_t staging = 0;    ///< slices in flight while loading
  std::int64_t total() const { return weights + embedding + caches + buffers + staging; }
  /// "the plan needs 3.2 GiB (weights ..., embedding ...)"
  std::string text(const EngineOptions& options) const;
};

class RankModel {
 public:
  using Progress = LoadProgress;

  /// Reads, verifies, checks and packs everything the part needs. Throws CheckpointError.
  RankModel(const CheckpointIndex& index, const RankPart& part, TensorReader& reader, const ThreadTeam& team,
            const Progress& progress);

  /// For emulation: the right number of layers and nothing in them.
  RankModel(const CheckpointIndex& index, const RankPart& part);

  static MemoryPlan plan(const CheckpointIndex& index, const RankPart& part, const EngineOptions& options);

  const ModelConfig& config() const { return config_; }
  const RankPart& part() const { return part_; }
  const SectionWeights& section(int index) const {
    return weights_.sections.at(static_cast<std::size_t>(index - part_.first_section));
  }
  const EmbeddingWeights& embedding() const { return weights_.embedding; }
  const PackedMatrix& head() const { return weights_.head; }
  const std::vector<float>& final_norm() const { return weights_.final_norm; }
  /// c_s of the read-out linear_combination, [p]; empty otherwise.
  const std::vector<float>& readout_coefficients() const { return weights_.readout_coefficients; }
  std::int64_t weight_bytes() const {
    return static_cast<std::int64_t>(weights_.arena.bytes() + weights_.embedding.rows.bytes());
  }

 private:
  ModelConfig config_;
  RankPart part_;
  RankWeights weights_;
};

}  // namespace stagformer::internal
