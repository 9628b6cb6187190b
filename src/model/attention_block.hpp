// Attention of a batch's rows to cached keys and values, shared by the threads of a region.
#pragma once

#include <cstddef>

#include "kernels/kernels.hpp"
#include "model/batch.hpp"
#include "model/forward_context.hpp"
#include "model/section.hpp"

namespace stagformer::internal {

/// Which cache of a section a block reads, and which of its positions.
struct AttentionSource {
  std::size_t layer;
  int memory_bank = -1;  ///< -1: the sequence's own positions so far (self-attention)
  bool rotate = true;    ///< queries and keys carry rotary positions

  KvCache& cache(Section& section) const {
    return memory_bank < 0 ? section.self_cache(layer) : section.memory_cache(layer, memory_bank);
  }
  const AttentionWeights& weights(const Section& section) const {
    const LayerWeights& all = section.weights().layers[layer];
    return memory_bank < 0 ? all.self_attention : *all.cross_attention;
  }
  PositionRange positions(const Section& section, std::int64_t position) const {
    return memory_bank < 0 ? PositionRange{0, position + 1} : section.memory_range(position);
  }
};

/// Finishes (norm, rotation) and stores keys and values [batch.size(), kv_stride] of the batch's rows;
/// without keys (window 1) the values alone. The threads do not meet.
void store(const ForwardContext& context, const Batch& batch, const AttentionSource& source, float* keys,
           const float* values);

/// softmax(q K^T / sqrt(a)) V of the queries in scratch.q for every row and head, [batch.size(), H*a]; a row
/// without positions gives zeros. Returns it as the operand of a product, quantised where asked.
Activations attend(const ForwardContext& context, const Batch& batch, const AttentionSource& source,
                   bool quantize);

/// The same for window 1: the value at the one position.
Activations copy_single_values(const ForwardContext& context, const Batch& batch,
                               const AttentionSource& source, bool quantize);

}  // namespace stagformer::internal
