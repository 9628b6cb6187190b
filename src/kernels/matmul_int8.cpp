// Products of block formats with int8 activations. The order of the sums of one output, the same on every
// instruction set, for every batch and every cut of the panels:
//
//   acc = 0, then for each block b of 32 columns, ascending:
//     dot = sum over the block of (stored quant - offset) * activation's quant      exact in int32
//     acc = fma(float(dot), scale_w * scale_x, acc)                                 the product rounded to
//     f32 q4_1 alone, next: acc = fma(minimum_w, scale_x * float(sum of activation's quants), acc)
//
// The offset (q4_0: 8, q8_0: 128) is taken off by starting the dot product at -offset * (sum of activation's
// quants). A tile is a strip or two of 16 rows of a panel times a few rows of x; weights pass through the
// tile once for all its rows. Where there are more rows than a tile has, they go over pieces of a panel that
// stay in the first-level cache, and accumulators rest in y between pieces.
#define HWY_WANT_AVX3_DL 1
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_int8.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/activation_row.hpp"
#include "kernels/matmul_paths.hpp"
#include "kernels/packed_layout.hpp"

#include "kernels/dot-inl.hpp"  // last: sets what the code below is compiled for

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

inline constexpr bool kWide = kParts == 1;
// Rows of x in a tile. Both sums of 8 rows are more than the registers hold, but the f32 ones are needed once
// a block only, and 8 rows in one tile read a panel in one stream.
inline constexpr int kMaxTileRows = kWide ? 8 : 4;

// A piece of a panel stays in the first-level cache while the next one is on its way. Where few tiles share a
// piece, it must be short enough for the memory to keep up with them all the time.
inline constexpr std::int64_t kPieceBytes = 24 << 10, kShortPieceBytes = 8 << 10;
inline constexpr std::int64_t kShortBatch = 4 * kMaxTileRows;

/// What the products of a format differ in.
template <NumberFormat kFormat>
struct Int8Format {
  static constexpr BlockLayout kLayout = block_layout(kFormat);
  static constexpr bool kNibbles = kFormat != NumberFormat::q8_0;
  static constexpr bool kMinima = kFormat == NumberFormat::q4_1;

  /// Takes the offset of the stored quants off a dot product.
  static HWY_INLINE std::int32_t start(const ActivationBlock& x) {
    if constexpr (kFormat == NumberFormat::q8_0) return x.minus_128_sums;
    if constexpr (kFormat == NumberFormat::q4_0) return x.minus_8_sums;
    return 0;
  }
};

/// Units of a panel, of which a tile takes the strips from `strip` on, and the rows of x (from the same block
/// on) and y (from the strip's first row on).
struct Span {
  const std::byte* units;
  std::int64_t blocks;
  std::int64_t strip;
  bool first;          ///< sums start at zero, not at what y holds
  std::int64_t ahead;  ///< bytes from a unit to the one that is asked for from memory meanwhile
  const std::byte* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
};

template <bool kNibbles, int kStrips, int kRows>
using TileDots = Dots<kNibbles>[kStrips][kRows];
template <int kStrips, int kRows>
using Sums = V16[kStrips][kRows];

HWY_INLINE FourBytes four_quants(const std::byte* block, std::int64_t first) {
  std::int32_t four;
  std::memcpy(&four, block + first, 4);
  return four_bytes(four);
}

/// A line of bytes, four of each output row, times four quants of every row of x.
template <bool kNibbles, int kStrips, int kRows>
HWY_INLINE void add_line(const U16 (&w)[kStrips], const std::byte* x, std::int64_t x_stride,
                         TileDots<kNibbles, kStrips, kRows>& dots) {
  Prepared<kNibbles> prepared[kStrips];
  STAG_UNROLLED (s, kStrips) prepared[s] = prepare<kNibbles>(w[s]);
  STAG_UNROLLED (b, kRows) {
    const FourBytes four = four_quants(x + b * x_stride, 0);
    STAG_UNROLLED (s, kStrips) add_dots(dots[s][b], prepared[s], four);
  }
}

/// The exact part of a unit: dots = quants of the weights times quants of the block of every row.
template <class Format, int kStrips, int kRows>
HWY_INLINE void add_quants(const std::byte* lines, const std::byte* x, std::int64_t x_stride,
                           TileDots<Format::kNibbles, kStrips, kRows>& dots) {
  STAG_UNROLLED (line, static_cast<int>(Format::kLayout.lines)) {
    U16 w[kStrips];
    STAG_UNROLLED (s, kStrips) w[s] = load_words(lines + line * kLineBytes + s * kStripBytes);
    if constexpr (Format::kNibbles) {
      U16 low[kStrips], high[kStrips];
      STAG_UNROLLED (s, kStrips) {
        low[s] = low_nibbles(w[s]);
        high[s] = low_nibbles(shift<-4>(w[s]));
      }
      add_line<true, kStrips, kRows>(low, x + line * 4, x_stride, dots);
      add_line<true, kStrips, kRows>(high, x + line * 4 + kBlockValues / 2, x_stride, dots);
    } else {
      add_line<false, kStrips, kRows>(w, x + line * 4, x_stride, dots);
    }
  }
}

/// One unit: the dot products in integers, then what each adds to its sum.
template <class Format, int kStrips, int kRows>
HWY_INLINE void add_unit(const std::byte* unit, std::int64_t strip, const std::byte* x, std::int64_t x_stride,
                         Sums<kStrips, kRows>& sums) {
  const auto block = [&](int b) -> const ActivationBlock& {
    return *reinterpret_cast<const ActivationBlock*>(x + b * x_stride);
  };
  TileDots<Format::kNibbles, kStrips, kRows> dots;
  STAG_UNROLLED (b, kRows) {
    const auto begin = begin_dots<Format::kNibbles>(Format::start(block(b)));
    STAG_UNROLLED (s, kStrips) dots[s][b] = begin;
  }
  add_quants<Format, kStrips, kRows>(unit + Format::kLayout.header_bytes + strip * kStripBytes, x, x_stride,
                                     dots);
  const std::byte* scales = unit + strip * kStripScaleBytes;
  STAG_UNROLLED (s, kStrips) {
    const V16 scale = load_halves(scales + s * kStripScaleBytes);
    STAG_UNROLLED (b, kRows) {
      const V16 dot = to_floats(words(dots[s][b], Format::start(block(b))));
      sums[s][b] = fused(dot, mul(scale, splat(block(b).scale)), sums[s][b]);
    }
    if constexpr (Format::kMinima) {
      const V16 minimum = load_halves(scales + kPanelRows * 2 + s * kStripScaleBytes);
      STAG_UNROLLED (b, kRows) sums[s][b] = fused(minimum, splat(block(b).scaled_sum), sums[s][b]);
    }
  }
}

template <class Format, int kStrips, int kRows>
HWY_NOINLINE void tile(const Span& a) {
  constexpr std::int64_t kUnit = Format::kLayout.unit_bytes();
  Sums<kStrips, kRows> sums;
  STAG_UNROLLED (s, kStrips) {
    STAG_UNROLLED (b, kRows) sums[s][b] = a.first ? splat(0) : load(a.y + b * a.y_stride + s * kStripRows);
  }
  const std::byte* x = a.x;
  const std::byte* end = a.units + a.blocks * kUnit;
  for (const std::byte* unit = a.units; unit != end; unit += kUnit, x += sizeof(ActivationBlock)) {
    STAG_UNROLLED (line, static_cast<int>(kUnit / 64)) hwy::Prefetch(unit + a.ahead + line * 64);
    add_unit<Format, kStrips, kRows>(unit, a.strip, x, a.x_stride, sums);
  }
  STAG_UNROLLED (s, kStrips) {
    STAG_UNROLLED (b, kRows) store(sums[s][b], a.y + b * a.y_stride + s * kStripRows);
  }
}

template <class Format, int kStrips, int kRows = 1>
HWY_INLINE void tile_of(std::int64_t rows, const Span& a) {
  if (rows == kRows) return tile<Format, kStrips, kRows>(a);
  if constexpr (kRows < kMaxTileRows) tile_of<Format, kStrips, kRows + 1>(rows, a);
}

/// All rows over one span, in tiles of nearly the same height; the first one asks for what comes next.
template <class Format, int kStrips>
void rows_of(std::int64_t batch, Span a) {
  const std::int64_t tiles = (batch + kMaxTileRows - 1) / kMaxTileRows;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t rows = batch * (t + 1) / tiles - batch * t / tiles;
    tile_of<Format, kStrips>(rows, a);
    a.x += rows * a.x_stride;
    a.y += rows * a.y_stride;
    a.ahead = 0;
  }
}

/// One panel and all rows: whole if a tile takes them all, else piece by piece.
template <class Format>
void panel_product(const Product& a, std::int64_t panel, const std::byte* units, std::int64_t blocks) {
  constexpr std::int64_t kUnit = Format::kLayout.unit_bytes();
  const std::int64_t piece_blocks = (a.batch <= kShortBatch ? kShortPieceBytes : kPieceBytes) / kUnit;
  const bool one_tile = a.batch <= (kWide ? kMaxTileRows : 1);
  const std::int64_t pieces = one_tile ? 1 : (blocks + piece_blocks - 1) / piece_blocks;
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t begin = blocks * i / pieces, end = blocks * (i + 1) / pieces;
    Span span{units + begin * kUnit,
              end - begin,
              0,
              i == 0,
              one_tile ? kPrefetchBytes : (end - begin) * kUnit,
              a.x.quantized + begin * static_cast<std::int64_t>(sizeof(ActivationBlock)),
              a.x.quantized_stride,
              a.y + panel * kPanelRows,
              a.y_stride};
    if (kWide || one_tile) {
      rows_of<Format, kPanelStrips>(a.batch, span);
      continue;
    }
    for (; span.strip < kPanelStrips; ++span.strip) {  // half the registers: one strip a tile
      rows_of<Format, 1>(a.batch, span);
      span.y += kStripRows;
      span.ahead = 0;
    }
  }
}

template <NumberFormat kFormat>
void product_of(const Product& a, std::int64_t begin, std::int64_t end) {
  const std::int64_t blocks = a.w.columns / kBlockValues;
  const std::int64_t panel_bytes = blocks * Int8Format<kFormat>::kLayout.unit_bytes();
  for (std::int64_t panel = begin; panel < end; ++panel)
    panel_product<Int8Format<kFormat>>(a, panel, a.w.data + panel * panel_bytes, blocks);
}

void product_int8(const Product& a, std::int64_t begin, std::int64_t end) {
  if (a.w.format == NumberFormat::q8_0)
    product_of<NumberFormat::q8_0>(a, begin, end);
  else if (a.w.format == NumberFormat::q4_0)
    product_of<NumberFormat::q4_0>(a, begin, end);
  else
    product_of<NumberFormat::q4_1>(a, begin, end);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(product_int8);

void matmul_int8(const Product& product, std::int64_t panel_begin, std::int64_t panel_end) {
  HWY_DYNAMIC_DISPATCH(product_int8)(product, panel_begin, panel_end);
}

}  // namespace stagformer::internal
#endif
