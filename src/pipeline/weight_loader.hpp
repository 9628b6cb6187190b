// Reads a rank's part of a checkpoint: each slice of a few hundred KiB is read, hashed, checked and packed
// while it is in the cache. Threads take whole datasets, because a checksum goes through one from front to
// back.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/thread_team.hpp"
#include "checkpoint/index.hpp"
#include "checkpoint/tensor_reader.hpp"
#include "model/weights.hpp"
#include "pipeline/rank_part.hpp"

namespace stagformer::internal {

/// The embedding table, [V, d]: as stored, or the head's panels where those are the same rows.
struct EmbeddingWeights {
  NumberFormat format = NumberFormat::f32;
  std::int64_t columns = 0;
  std::int64_t row_bytes = 0;
  AlignedBuffer<std::byte> rows;  ///< [V, row_bytes]; empty unless keeps_embedding_rows()
  PackedMatrix panels;            ///< used where there are no rows; memory of the arena

  /// Row `token` to f32, out: [columns].
  void look_up(std::int64_t token, float* out) const;
};

/// Everything that a rank computes with.
struct RankWeights {
  AlignedBuffer<std::byte> arena;  ///< all packed matrices, in the order in which a step reads them
  std::vector<SectionWeights> sections;
  EmbeddingWeights embedding;
  PackedMatrix head;
  std::vector<float> final_norm;
  std::vector<float> readout_coefficients;  ///< [p] for linear_combination, else empty
};

using LoadProgress = std::function<void(std::int64_t done_bytes, std::int64_t total_bytes)>;

/// Reads, verifies, checks and packs everything the part needs; `progress` is called by one thread at a time.
/// Throws CheckpointError, the first one where several threads fail.
RankWeights load_weights(const CheckpointIndex& index, const RankPart& part, TensorReader& reader,
                         const ThreadTeam& team, const LoadProgress& progress);

/// Bytes that load_weights() takes beside the weights: a slice a thread.
std::int64_t staging_bytes(const CheckpointIndex& index, const RankPart& part, int threads);

}  // namespace stagformer::internal
