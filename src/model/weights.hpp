// The weights of a section as the forward pass reads them. Matrices are views into memory that the loader
// owns.
#pragma once

#include <optional>
#include <vector>

#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

struct AttentionWeights {
  std::vector<float> norm;                    ///< [d]
  PackedMatrix q;                             ///< [H*a, d]; empty in cross-attention with window 1
  PackedMatrix k;                             ///< [G*a, d]; likewise
  PackedMatrix v;                             ///< [G*a, d]
  PackedMatrix o;                             ///< [d, H*a]
  std::vector<float> q_bias, k_bias, v_bias;  ///< empty, or one value an output
  std::vector<float> q_norm, k_norm;          ///< [a] each, of every head; empty without them
};

struct FeedForwardWeights {
  std::vector<float> norm;  ///< [d]
  PackedMatrix gate, up;    ///< [f, d]
  PackedMatrix down;        ///< [d, f]
};

struct LayerWeights {
  AttentionWeights self_attention;
  std::optional<AttentionWeights> cross_attention;
  FeedForwardWeights feed_forward;
};

struct SectionWeights {
  std::vector<LayerWeights> layers;
  std::vector<float> memory_norm;  ///< [d], empty where the section has none
};

}  // namespace stagformer::internal
