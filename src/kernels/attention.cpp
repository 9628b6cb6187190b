// Attention of one query to one run of cached positions, by pieces of 64 positions and online softmax: after
// each piece `out` holds sum_j exp(s_j - max) v_j of all positions so far, and `total` the sum of the
// weights.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/exp-inl.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

inline constexpr std::int64_t kPiece = 64;

/// The positions of one piece: offsets of their rows in the cache, and their scores, later weights.
struct AttentionPiece {
  std::int64_t count;
  std::int64_t row[kPiece];  ///< in floats; beyond count the last one again
  alignas(64) float weight[kPiece];
};

HWY_INLINE void find_rows(const CacheSpan& span, std::int64_t begin, std::int64_t head_dim,
                          AttentionPiece& piece) {
  std::int64_t slot = begin % span.capacity;
  for (std::int64_t i = 0; i < piece.count; ++i) {
    piece.row[i] = slot * head_dim;
    if (++slot == span.capacity) slot = 0;
  }
  for (std::int64_t i = piece.count; i % 4 != 0; ++i) piece.row[i] = piece.row[i - 1];
}

/// Scores of four positions at a time: 16 partial sums each, one tree for all four.
HWY_INLINE void score(const float* query, const float* keys, std::int64_t head_dim, float scale,
                      AttentionPiece& piece) {
  for (std::int64_t i = 0; i < piece.count; i += 4) {
    V16 dot[4] = {splat(0), splat(0), splat(0), splat(0)};
    for (std::int64_t d = 0; d < head_dim; d += 16) {
      const V16 q = load_n(query + d, head_dim - d);
      STAG_UNROLLED (j, 4) dot[j] = fma(q, load_n(keys + piece.row[i + j] + d, head_dim - d), dot[j]);
    }
    sum_lanes_of_4(dot, piece.weight + i);
  }
  for (std::int64_t i = 0; i < piece.count; ++i) piece.weight[i] *= scale;
  for (std::int64_t i = piece.count; i < kPiece; ++i)
    piece.weight[i] = -std::numeric_limits<float>::infinity();
}

HWY_INLINE float largest_score(const AttentionPiece& piece) {
  V16 most = load(piece.weight);
  for (std::int64_t i = 16; i < kPiece; i += 16) most = larger(most, load(piece.weight + i));
  float lane[16];
  store(most, lane);
  return *std::max_element(lane, lane + 16);
}

/// Scores to weights exp(score - shift); returns their sum.
HWY_INLINE float weigh(float shift, AttentionPiece& piece) {
  V16 sums = splat(0);
  for (std::int64_t i = 0; i < kPiece; i += 16) {
    const V16 weight = exp(sub(load(piece.weight + i), splat(shift)));
    store(weight, piece.weight + i);
    sums = add(sums, weight);
  }
  return sum_lanes(sums);
}

/// out = out * factor + sum_j weight_j v_j for 16 kVectors values of the head from `d`.
template <int kVectors>
HWY_INLINE void mix(const float* values, const AttentionPiece& piece, float factor, float* out,
                    std::int64_t count) {
  V16 acc[kVectors];
  STAG_UNROLLED (v, kVectors) acc[v] = mul(load_n(out + 16 * v, count - 16 * v), splat(factor));
  for (std::int64_t i = 0; i < piece.count; ++i) {
    const V16 weight = splat(piece.weight[i]);
    const float* row = values + piece.row[i];
    STAG_UNROLLED (v, kVectors) acc[v] = fma(weight, load_n(row + 16 * v, count - 16 * v), acc[v]);
  }
  STAG_UNROLLED (v, kVectors) store_n(acc[v], out + 16 * v, count - 16 * v);
}

HWY_INLINE void mix_head(const float* values, std::int64_t head_dim, const AttentionPiece& piece,
                         float factor, float* out) {
  std::int64_t d = 0;
  for (; d + 64 <= head_dim; d += 64) mix<4>(values + d, piece, factor, out + d, 64);
  for (; d < head_dim; d += 16) mix<1>(values + d, piece, factor, out + d, head_dim - d);
}

void attend_lanes(const float* query, const CacheSpan& span, std::int64_t head_dim, float scale, float* out) {
  std::fill_n(out, head_dim, 0.0f);
  AttentionPiece piece;
  float most = -std::numeric_limits<float>::infinity(), total = 0;
  for (std::int64_t begin = span.begin; begin < span.end; begin += piece.count) {
    piece.count = std::min(span.end, (begin / kPiece + 1) * kPiece) - begin;
    find_rows(span, begin, head_dim, piece);
    score(query, span.keys, head_dim, scale, piece);
    const float new_most = std::max(most, largest_score(piece));
    float factor[16];
    store(exp(splat(most - new_most)), factor);  // 0 for the first piece
    total = total * factor[0] + weigh(new_most, piece);
    mix_head(span.values, head_dim, piece, factor[0], out);
    most = new_most;
  }
  for (std::int64_t d = 0; d < head_dim; d += 16)
    store_n(div(load_n(out + d, head_dim - d), splat(total)), out + d, head_dim - d);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(attend_lanes);

void attend(const float* query, const CacheSpan& span, std::int64_t head_dim, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(attend_lanes)(query, span, head_dim, scale, out);
}

}  // namespace stagformer::internal
#endif
