// Attention of queries to cached positions. The positions are cut into chunks, so that threads can share a
// long context and a chunk of the cache can serve many queries; chunks and the pieces inside them are aligned
// to absolute positions. So a query's result depends on its range alone: not on the other queries of a call,
// nor on who computes which chunk.
#pragma once

#include <cstdint>

#include "kernels/cache_layout.hpp"

namespace stagformer::internal {

inline constexpr std::int64_t kAttentionChunk = 256;  // positions

/// Positions [begin, end); all of them must still be in the cache.
struct PositionRange {
  std::int64_t begin, end;
};

/// Chunks [first, last) that a range touches; none where it is empty.
struct ChunkRange {
  std::int64_t first, last;
};
inline ChunkRange chunks_of(PositionRange range) {
  if (range.begin >= range.end) return {0, 0};
  return {range.begin / kAttentionChunk, (range.end + kAttentionChunk - 1) / kAttentionChunk};
}

/// Floats of one partial result: largest score, 16 partial sums of the weights, weighted sums of the values.
std::int64_t attention_partial_floats(std::int64_t head_dim);

/// Unnormalised attention of `count` queries [head_dim], which all read the same key/value head, to the
/// positions of one chunk, each to its own range clipped to the chunk. An empty one leaves a partial that
/// merges as nothing. head_dim is even. Fastest when neighbouring queries have nearly the same ranges.
void attend_chunk(const CacheSpan& cache, std::int64_t head_dim, float scale, std::int64_t chunk,
                  const float* const* queries, const PositionRange* ranges, std::int64_t count,
                  float* const* partials);

/// out = [head_dim] the partials of one query merged in ascending order and normalised; nothing attended to
/// gives zeros. Partial c at partials + c * stride; empty ones may be among them or left out: same bits.
void merge_chunks(const float* partials, std::int64_t stride, std::int64_t chunks, std::int64_t head_dim,
                  float* out);

/// Both for one query and its whole range; allocates, so not for inner loops.
void attend(const CacheSpan& cache, std::int64_t head_dim, float scale, const float* query,
            PositionRange range, float* out);

}  // namespace stagformer::internal
