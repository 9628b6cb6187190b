// A tile of queries against one block of 64 cached positions. Compiled once for each target.
//
// Scores and weighted values are both products of a few rows (queries; weights) with a long matrix (keys;
// values) that is read once for all rows of the tile:
//   acc[q][v] = fma(a[q][k], b[k][16 v .. 16 v + 15], acc[q][v]),  k ascending
// Every lane of every row is a chain of its own, so the tile's other rows change nothing.
#if defined(STAGFORMER_KERNELS_ATTENTION_TILE_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef STAGFORMER_KERNELS_ATTENTION_TILE_INL
#undef STAGFORMER_KERNELS_ATTENTION_TILE_INL
#else
#define STAGFORMER_KERNELS_ATTENTION_TILE_INL
#endif

#include <hwy/cache_control.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/cache_layout.hpp"
#include "kernels/exp-inl.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

// Registers: kTileQueries rows, and as many vectors of 16 lanes side by side as the rest allows. Rows that
// are widened cannot be operands in memory, so they need registers of their own.
inline constexpr int kTileQueries = kParts <= 2 ? 6 : 2;
template <class Rows>
constexpr int tile_vectors(int queries) {
  if (kParts == 1) return 4;
  return queries == 1 ? 4 : queries <= (Rows::kWidened ? 2 : 3) ? 2 : 1;
}

inline constexpr int kBlockVectors = static_cast<int>(kCacheBlock / 16);

/// 16 bf16 numbers widened.
HWY_INLINE V16 load_bf16(const std::byte* from) {
  using Bits = hn::Rebind<std::uint16_t, F32>;
  V16 v;
  const auto* bits = reinterpret_cast<const std::uint16_t*>(from);
  STAG_UNROLLED (i, kParts) {
    const VU wide = hn::PromoteTo(U32(), hn::LoadU(Bits(), bits + i * kLanes));
    v.part[i] = hn::BitCast(F32(), hn::ShiftLeft<16>(wide));
  }
  return v;
}

HWY_INLINE float largest_lane(const V16& v) {
  VF most = v.part[0];
  for (int i = 1; i < kParts; ++i) most = hn::Max(most, v.part[i]);
  return hn::GetLane(hn::MaxOfLanes(F32(), most));
}

// ---- what a matrix is made of: kStep values of k in each stored row, kVectorBytes for 16 lanes of it

struct F32Rows {
  static constexpr int kStep = 1, kVectorBytes = 64;
  static constexpr bool kWidened = false;
  template <int kSub>
  static HWY_INLINE V16 at(const std::byte* from) {
    return load(reinterpret_cast<const float*>(from));
  }
};

struct Bf16Rows {
  static constexpr int kStep = 1, kVectorBytes = 32;
  static constexpr bool kWidened = true;
  template <int kSub>
  static HWY_INLINE V16 at(const std::byte* from) {
    return load_bf16(from);
  }
};

struct Bf16Pairs {
  static constexpr int kStep = 2, kVectorBytes = 64;
  static constexpr bool kWidened = true;
  template <int kSub>
  static HWY_INLINE V16 at(const std::byte* from) {
    const U16 pairs = load_words(from);
    if constexpr (kSub == 0)
      return as_floats(shift<16>(pairs));
    else
      return mask_or(pairs, 0xffff0000u, 0);
  }
};

struct F32Cache {
  using Keys = F32Rows;
  using Values = F32Rows;
};
struct Bf16Cache {
  using Keys = Bf16Pairs;
  using Values = Bf16Rows;
};

// ---- the product

template <int kQueries, int kVectors>
using QueryTile = V16[kQueries][kVectors];

template <class Rows, int kSub, int kQueries, int kVectors>
HWY_INLINE void chain_step(const float* const (&a)[kQueries], std::int64_t k, const std::byte* b,
                           QueryTile<kQueries, kVectors>& acc) {
  V16 row[kVectors];
  STAG_UNROLLED (v, kVectors) row[v] = Rows::template at<kSub>(b + v * Rows::kVectorBytes);
  STAG_UNROLLED (q, kQueries) {
    const V16 factor = splat(a[q][k + kSub]);
    STAG_UNROLLED (v, kVectors) acc[q][v] = fma(factor, row[v], acc[q][v]);
  }
}

/// A row's lines beyond the first `done` bytes, which later passes will read.
HWY_INLINE void fetch_rest(const std::byte* row, std::int64_t done, std::int64_t row_bytes) {
  for (std::int64_t at = std::max<std::int64_t>(done, 64); at < row_bytes; at += 64) hwy::Prefetch(row + at);
}

/// k in [0, count), count a multiple of kStep; the tile reads the 16 kVectors lanes from `vector` on. The
/// first pass over a row fetches what others will read: the hardware sees no stream in parts of rows. It also
/// fetches as many bytes from `ahead`, if that is given: what will be read next lies elsewhere.
template <class Rows, int kQueries, int kVectors>
HWY_INLINE void chain(const float* const (&a)[kQueries], const std::byte* rows, std::int64_t vector,
                      std::int64_t vectors, std::int64_t count, const std::byte* ahead,
                      QueryTile<kQueries, kVectors>& acc) {
  const std::int64_t stride = vectors * Rows::kVectorBytes;
  const std::byte* b = rows + vector * Rows::kVectorBytes;
  const bool fetch = vector == 0 && stride > std::max(64, kVectors * Rows::kVectorBytes);
  const bool fetch_ahead = vector == 0 && ahead != nullptr;
  for (std::int64_t k = 0; k < count; k += Rows::kStep, b += stride) {
    if (fetch) fetch_rest(b, kVectors * Rows::kVectorBytes, stride);
    if (fetch_ahead)
      for (const std::byte* end = ahead + stride; ahead < end; ahead += 64) hwy::Prefetch(ahead);
    chain_step<Rows, 0, kQueries, kVectors>(a, k, b, acc);
    if constexpr (Rows::kStep == 2) chain_step<Rows, 1, kQueries, kVectors>(a, k, b, acc);
  }
}

// ---- a block

/// 64 positions of the cache.
struct BlockView {
  const std::byte* keys;
  const std::byte* values;
  std::int64_t head_dim;
  float scale;
  const std::byte* next_keys = nullptr;  ///< of the block to come; null where blocks are read again and again
};

/// One query's part of a block: rows [begin, end) of it, never empty. `partial` is laid out as below.
struct BlockQuery {
  const float* query;
  float* partial;
  std::int64_t begin, end;
};

// A partial result in floats: the largest score, 16 partial sums of the weights, sums of the values.
inline constexpr std::int64_t kPartialTotal = 16, kPartialSums = 32;

/// Scores, later weights, of a tile; factor[q] is what earlier blocks' sums shrink by.
template <int kQueries>
struct TileWeights {
  alignas(64) float at[kQueries][kCacheBlock];
  alignas(64) float factor[16];
};

/// Raw products with the keys; vectors that no query looks at are left as they were.
template <class Keys, int kQueries>
HWY_NOINLINE void score_tile(const BlockView& block, const BlockQuery* tile, TileWeights<kQueries>& weights) {
  constexpr int kVectors = tile_vectors<Keys>(kQueries);
  const float* query[kQueries];
  std::int64_t begin = tile[0].begin, end = tile[0].end;
  for (int q = 0; q < kQueries; ++q) {
    query[q] = tile[q].query;
    begin = std::min(begin, tile[q].begin);
    end = std::max(end, tile[q].end);
  }
  for (int v = 0; v < kBlockVectors; v += kVectors) {
    if (16 * (v + kVectors) <= begin || 16 * v >= end) continue;
    QueryTile<kQueries, kVectors> acc;
    STAG_UNROLLED (q, kQueries) {
      STAG_UNROLLED (i, kVectors) acc[q][i] = splat(0);
    }
    chain<Keys, kQueries, kVectors>(query, block.keys, v, kBlockVectors, block.head_dim,
                                    block.next_keys ? block.values : nullptr, acc);
    STAG_UNROLLED (q, kQueries) {
      STAG_UNROLLED (i, kVectors) {
        store(acc[q][i], weights.at[q] + 16 * (v + i));
      }
    }
  }
}

/// Products to scores. Rows out of range may hold anything: they are chosen away, not computed away.
HWY_INLINE float finish_scores(const BlockQuery& query, float scale, float (&score)[kCacheBlock]) {
  for (std::int64_t i = 0; i < kCacheBlock; i += 16) store(mul(load(score + i), splat(scale)), score + i);
  std::fill(score, score + query.begin, -std::numeric_limits<float>::infinity());
  std::fill(score + query.end, score + kCacheBlock, -std::numeric_limits<float>::infinity());
  V16 most = load(score);
  for (std::int64_t i = 16; i < kCacheBlock; i += 16) most = larger(most, load(score + i));
  return largest_lane(most);
}

/// Scores to weights exp(score - shift); adds them to the query's total.
HWY_INLINE void weigh(const BlockQuery& query, float shift, float factor, float (&score)[kCacheBlock]) {
  V16 sums = splat(0);
  for (std::int64_t i = 0; i < kCacheBlock; i += 16) {
    const V16 weight = exp(sub(load(score + i), splat(shift)));
    store(weight, score + i);
    sums = add(sums, weight);
  }
  float* total = query.partial + kPartialTotal;
  store(fma(load(total), splat(factor), sums), total);
}

/// Products with the keys to weights relative to the largest score so far.
template <int kQueries>
HWY_NOINLINE void weigh_tile(float scale, const BlockQuery* tile, TileWeights<kQueries>& weights) {
  alignas(64) float before[16] = {}, most[16] = {};
  for (int q = 0; q < kQueries; ++q) {
    before[q] = tile[q].partial[0];
    most[q] = std::max(before[q], finish_scores(tile[q], scale, weights.at[q]));
    tile[q].partial[0] = most[q];
  }
  store(exp(sub(load(before), load(most))), weights.factor);  // 0 for a query's first block
  for (int q = 0; q < kQueries; ++q) weigh(tile[q], most[q], weights.factor[q], weights.at[q]);
}

/// Rows [begin, end) of the block added to the sums of kQueries queries: sums = sums * factor + weights V.
template <int kQueries>
struct MixRows {
  std::int64_t begin, end;
  const float* weights[kQueries];  ///< from `begin`
  float factor[kQueries];
  float* sums[kQueries];
};

template <class Values, int kQueries, int kVectors>
HWY_INLINE void mix_vectors(const BlockView& block, const MixRows<kQueries>& rows, std::int64_t vector) {
  const std::int64_t vectors = value_stride(block.head_dim) / 16;
  QueryTile<kQueries, kVectors> acc;
  STAG_UNROLLED (q, kQueries) {
    STAG_UNROLLED (v, kVectors) {
      acc[q][v] = mul(load(rows.sums[q] + 16 * (vector + v)), splat(rows.factor[q]));
    }
  }
  chain<Values, kQueries, kVectors>(rows.weights, block.values + rows.begin * vectors * Values::kVectorBytes,
                                    vector, vectors, rows.end - rows.begin, block.next_keys, acc);
  STAG_UNROLLED (q, kQueries) {
    STAG_UNROLLED (v, kVectors) {
      store(acc[q][v], rows.sums[q] + 16 * (vector + v));
    }
  }
}

template <class Values, int kQueries>
HWY_NOINLINE void mix(const BlockView& block, const MixRows<kQueries>& rows) {
  constexpr int kVectors = tile_vectors<Values>(kQueries);
  const std::int64_t vectors = value_stride(block.head_dim) / 16;
  std::int64_t v = 0;
  for (; v + kVectors <= vectors; v += kVectors) mix_vectors<Values, kQueries, kVectors>(block, rows, v);
  for (; v < vectors; ++v) mix_vectors<Values, kQueries, 1>(block, rows, v);
}

/// Rows of one query alone, those that its neighbours do not look at; then its factor is used up.
template <class Values>
HWY_INLINE void mix_alone(const BlockView& block, const BlockQuery& query, std::int64_t begin,
                          std::int64_t end, const float (&weights)[kCacheBlock], float& factor) {
  if (begin >= end) return;
  mix<Values, 1>(block, {begin, end, {weights + begin}, {factor}, {query.partial + kPartialSums}});
  factor = 1;
}

/// Rows outside a query's range must add nothing, not even 0 * value: only what all look at is shared.
template <class Values, int kQueries>
HWY_INLINE void mix_tile(const BlockView& block, const BlockQuery* tile, TileWeights<kQueries>& weights) {
  std::int64_t begin = 0, end = kCacheBlock;
  for (int q = 0; q < kQueries; ++q) {
    begin = std::max(begin, tile[q].begin);
    end = std::min(end, tile[q].end);
  }
  end = std::max(begin, end);
  MixRows<kQueries> shared{begin, end, {}, {}, {}};
  for (int q = 0; q < kQueries; ++q) {
    mix_alone<Values>(block, tile[q], tile[q].begin, std::min(begin, tile[q].end), weights.at[q],
                      weights.factor[q]);
    shared.weights[q] = weights.at[q] + begin;
    shared.factor[q] = weights.factor[q];
    shared.sums[q] = tile[q].partial + kPartialSums;
  }
  if (begin < end) {
    mix<Values, kQueries>(block, shared);
    std::fill_n(weights.factor, kQueries, 1.0f);
  }
  for (int q = 0; q < kQueries; ++q)
    mix_alone<Values>(block, tile[q], std::max(end, tile[q].begin), tile[q].end, weights.at[q],
                      weights.factor[q]);
}

template <class Cache, int kQueries>
void attend_tile(const BlockView& block, const BlockQuery* tile) {
  TileWeights<kQueries> weights;
  score_tile<typename Cache::Keys, kQueries>(block, tile, weights);
  weigh_tile<kQueries>(block.scale, tile, weights);
  mix_tile<typename Cache::Values, kQueries>(block, tile, weights);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
