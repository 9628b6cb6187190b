// Attention by pieces of 64 positions and online softmax: after each piece a query's partial holds
// sum_j exp(s_j - max) v_j of its positions so far, and the sum of those weights.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.hpp"
#include "kernels/attention.hpp"
#include "kernels/attention_tile-inl.hpp"

#ifndef STAGFORMER_KERNELS_ATTENTION_CALL
#define STAGFORMER_KERNELS_ATTENTION_CALL
namespace stagformer::internal {
/// The arguments of attend_chunk().
struct AttentionCall {
  const CacheSpan& cache;
  std::int64_t head_dim;
  float scale;
  const float* const* queries;
  const PositionRange* ranges;
  std::int64_t count;
  float* const* partials;
};
}  // namespace stagformer::internal
#endif

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

/// One tile's worth of queries reads each block once, so the next one is fetched meanwhile.
HWY_INLINE BlockView block_at(const AttentionCall& call, std::int64_t position) {
  const std::int64_t row = position % call.cache.capacity;
  const std::byte* keys = call.cache.keys + key_bytes(call.cache.format, row, call.head_dim);
  return {
      keys, call.cache.values + value_bytes(call.cache.format, row, call.head_dim), call.head_dim, call.scale,
      call.count <= kTileQueries ? keys + key_bytes(call.cache.format, kCacheBlock, call.head_dim) : nullptr};
}

/// The last tile of a block, of fewer than kQueries + 1 queries.
template <class Cache, int kQueries>
void attend_rest(const BlockView& block, const BlockQuery* tile, int count) {
  if (count == kQueries) return attend_tile<Cache, kQueries>(block, tile);
  if constexpr (kQueries > 1) attend_rest<Cache, kQueries - 1>(block, tile, count);
}

/// All queries to the block that begins at `position`; those that look at none of it are passed over.
template <class Cache>
void attend_block(const AttentionCall& call, std::int64_t position) {
  const BlockView block = block_at(call, position);
  BlockQuery tile[kTileQueries];
  int filled = 0;
  for (std::int64_t i = 0; i < call.count; ++i) {
    const std::int64_t begin = std::max<std::int64_t>(call.ranges[i].begin - position, 0);
    const std::int64_t end = std::min(call.ranges[i].end - position, kCacheBlock);
    if (begin >= end) continue;
    tile[filled++] = {call.queries[i], call.partials[i], begin, end};
    if (filled < kTileQueries) continue;
    attend_tile<Cache, kTileQueries>(block, tile);
    filled = 0;
  }
  if (filled > 0) attend_rest<Cache, kTileQueries>(block, tile, filled);
}

// A block of keys and values stays in the first-level cache while all queries pass by.
void attend_chunk_lanes(const AttentionCall& call, std::int64_t begin) {
  for (std::int64_t position = begin; position < begin + kAttentionChunk; position += kCacheBlock) {
    if (call.cache.format == CacheFormat::f32)
      attend_block<F32Cache>(call, position);
    else
      attend_block<Bf16Cache>(call, position);
  }
}

/// True for the partial of a query that attended to nothing; one that met NaN has a total of NaN.
HWY_INLINE bool is_empty(const float* partial) {
  return partial[0] == -std::numeric_limits<float>::infinity() && partial[kPartialTotal] == 0;
}

/// 16 kVectors values of the head from `d`; `most` is the largest score of all chunks.
template <int kVectors>
HWY_INLINE void merge_values(const float* partial, std::int64_t stride, std::int64_t chunks, float most,
                             std::int64_t d, std::int64_t head_dim, float* out) {
  V16 total = splat(0), acc[kVectors];
  STAG_UNROLLED (v, kVectors) acc[v] = splat(0);
  for (std::int64_t c = 0; c < chunks; ++c, partial += stride) {
    if (is_empty(partial)) continue;
    const V16 factor = exp(sub(splat(partial[0]), splat(most)));
    total = fma(factor, load(partial + kPartialTotal), total);
    STAG_UNROLLED (v, kVectors) acc[v] = fma(factor, load(partial + kPartialSums + d + 16 * v), acc[v]);
  }
  const V16 sum = splat(sum_lanes(total));
  STAG_UNROLLED (v, kVectors) store_n(div(acc[v], sum), out + d + 16 * v, head_dim - d - 16 * v);
}

void merge_chunks_lanes(const float* partials, std::int64_t stride, std::int64_t chunks,
                        std::int64_t head_dim, float* out) {
  float most = -std::numeric_limits<float>::infinity();
  bool empty = true;
  for (std::int64_t c = 0; c < chunks; ++c) {
    most = std::max(most, partials[c * stride]);
    empty = empty && is_empty(partials + c * stride);
  }
  if (empty) {
    std::fill_n(out, head_dim, 0.0f);
    return;
  }
  std::int64_t d = 0;
  for (; d + 64 <= head_dim; d += 64) merge_values<4>(partials, stride, chunks, most, d, head_dim, out);
  for (; d < head_dim; d += 16) merge_values<1>(partials, stride, chunks, most, d, head_dim, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(attend_chunk_lanes);
HWY_EXPORT(merge_chunks_lanes);

std::int64_t attention_partial_floats(std::int64_t head_dim) {
  return HWY_STATIC_DISPATCH(kPartialSums) + value_stride(head_dim);
}

void attend_chunk(const CacheSpan& cache, std::int64_t head_dim, float scale, std::int64_t chunk,
                  const float* const* queries, const PositionRange* ranges, std::int64_t count,
                  float* const* partials) {
  STAG_DCHECK(head_dim % 2 == 0 && cache.capacity % kCacheBlock == 0, head_dim, cache.capacity);
  for (std::int64_t i = 0; i < count; ++i) {
    std::fill_n(partials[i], attention_partial_floats(head_dim), 0.0f);
    partials[i][0] = -std::numeric_limits<float>::infinity();
  }
  HWY_DYNAMIC_DISPATCH(attend_chunk_lanes)
  ({cache, head_dim, scale, queries, ranges, count, partials}, chunk * kAttentionChunk);
}

void merge_chunks(const float* partials, std::int64_t stride, std::int64_t chunks, std::int64_t head_dim,
                  float* out) {
  HWY_DYNAMIC_DISPATCH(merge_chunks_lanes)(partials, stride, chunks, head_dim, out);
}

void attend(const CacheSpan& cache, std::int64_t head_dim, float scale, const float* query,
            PositionRange range, float* out) {
  const ChunkRange chunks = chunks_of(range);
  const std::int64_t stride = attention_partial_floats(head_dim);
  std::vector<float> partials(static_cast<std::size_t>((chunks.last - chunks.first) * stride));
  for (std::int64_t c = chunks.first; c < chunks.last; ++c) {
    float* partial = partials.data() + (c - chunks.first) * stride;
    attend_chunk(cache, head_dim, scale, c, &query, &range, 1, &partial);
  }
  merge_chunks(partials.data(), stride, chunks.last - chunks.first, head_dim, out);
}

}  // namespace stagformer::internal
#endif
