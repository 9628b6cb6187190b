// The part of a model that one rank holds: its sections, the embedding, its slice of the head; and the plan
// of bytes made before any of it is allocated.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/thread_team.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "model/weights.hpp"
#include "pipeline/grid.hpp"
#include "pipeline/options.hpp"
#include "text/sampling.hpp"

namespace stagformer::internal {

/// Bytes that a rank will take.
struct MemoryPlan {
  std::int64_t weights = 0;    ///< packed matrices
  std::int64_t embedding = 0;  ///< rows as stored
  std::int64_t caches = 0;     ///< keys and values of all slots
  std::int64_t buffers = 0;    ///< scratch, messages, logits
  std::int64_t staging = 0;    ///< the one tensor in flight while loading
  std::int64_t total() const { return weights + embedding + caches + buffers + staging; }
};

/// Which part of the model a rank hosts.
struct RankPart {
  int rank = 0;   ///< in its replica
  int ranks = 1;  ///< of the replica
  int first_section = 0;
  int sections = 1;
  bool whole_head = false;  ///< the last rank under --head last; the others then hold no head
  bool any_head = true;
  VocabularySlice slice;

  bool hosts_last(const ModelConfig& config) const {
    return first_section + sections == config.sections.count;
  }
};
RankPart rank_part(const ModelConfig& config, const Grid& grid, int rank_in_replica, HeadMode head);

/// Embedding rows as stored; looked up one at a time.
struct EmbeddingWeights {
  NumberFormat format = NumberFormat::f32;
  std::int64_t row_bytes = 0;
  std::vector<std::byte>
      rows;  ///< [V, row_bytes]; empty where no section of the rank starts from the embedding
};

class RankModel {
 public:
  using Progress = std::function<void(std::int64_t done_bytes, std::int64_t total_bytes)>;

  /// Reads, verifies, checks and packs everything the part needs. Throws CheckpointError.
  RankModel(const CheckpointIndex& index, const RankPart& part, TensorReader& reader, const ThreadTeam& team,
            const Progress& progress);

  static MemoryPlan plan(const CheckpointIndex& index, const RankPart& part, const EngineOptions& options);

  const ModelConfig& config() const { return config_; }
  const RankPart& part() const { return part_; }
  const SectionWeights& section(int index) const {
    return sections_.at(static_cast<std::size_t>(index - part_.first_section));
  }
  const EmbeddingWeights& embedding() const { return embedding_; }
  const PackedMatrix& head() const { return head_; }
  const std::vector<float>& final_norm() const { return final_norm_; }
  /// c_s of the read-out linear_combination, [p]; empty otherwise.
  const std::vector<float>& readout_coefficients() const { return readout_coefficients_; }
  std::int64_t weight_bytes() const {
    return static_cast<std::int64_t>(arena_.bytes() + embedding_.rows.size());
  }

 private:
  class Loader;

  ModelConfig config_;
  RankPart part_;
  AlignedBuffer<std::byte> arena_;  // all packed matrices, in the order in which a step reads them
  std::vector<SectionWeights> sections_;
  EmbeddingWeights embedding_;
  PackedMatrix head_;
  std::vector<float> final_norm_, readout_coefficients_;
};

}  // namespace stagformer::internal
