// Products with f32 activations. Every output has one chain acc = fma(x[k], w[k], acc), k ascending from
// zero, w the weight as f32 (exact for every format): batch, tile shape, threads and vector width change
// which chains run side by side, never a chain.
//
// A tile is a strip or two of 16 rows of a panel times a few rows of x; weights are decoded once for all its
// rows, on the way from memory into the chains. Where there are more rows than a tile has, they go over
// pieces of a panel that stay in the first-level cache, and accumulators rest in y between pieces.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_float.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <utility>

#include "kernels/decode-inl.hpp"
#include "kernels/matmul_paths.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

// The most rows of x in a tile, as the instruction set's registers allow (32 of 16 lanes, 16 of 8 or 4): with
// both strips of a panel, which makes one stream of it, and with one strip.
inline constexpr bool kWide = kParts == 1;
template <class Format>
inline constexpr int kPanelTileRows = kWide ? (Format::kUnit == kBlockValues ? 6 : 12)
                                            : (kParts == 2 ? 2 : 1);
template <class Format>
inline constexpr int kStripTileRows = kParts == 2 ? (Format::kUnit == 1 ? 6 : 4) : 2;  // decoding needs some

/// Units of a strip or of the two of a panel, and the rows of x (from the first unit's column on) and of y
/// (from the first strip on).
struct Span {
  StripCursor strip;
  std::int64_t units;
  bool first;          ///< chains start at zero, not at what y holds
  bool half;           ///< one more unit follows, of a single column (bf16)
  std::int64_t ahead;  ///< bytes from a unit to the one that is asked for from memory meanwhile
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
};

template <int kStrips, int kRows>
using Sums = V16[kStrips][kRows];

/// The strips of one unit, side by side in its lines.
template <class Format, int kStrips>
struct Unit {
  StripCursor strips[kStrips];
  std::int64_t index;
  typename Format::Consts consts[kStrips];
};

template <class Format, int kHalf, int kColumn, int kStrips, int kRows>
HWY_INLINE void add_column(const Unit<Format, kStrips>& unit, std::int64_t group, const float* x,
                           std::int64_t x_stride, Sums<kStrips, kRows>& sums) {
  V16 w[kStrips];
  STAG_UNROLLED (s, kStrips) {
    w[s] = Format::template decode<kHalf, kColumn>(unit.strips[s], unit.index, group, unit.consts[s]);
  }
  STAG_UNROLLED (b, kRows) {
    const V16 xk = splat(x[b * x_stride + kColumn]);
    STAG_UNROLLED (s, kStrips) sums[s][b] = fma(xk, w[s], sums[s][b]);
  }
}

// The columns of one half, ascending: groups in a loop, the columns of a group unrolled.
template <class Format, int kHalf, int kStrips, int kRows, int... kColumns>
HWY_INLINE void add_half(const Unit<Format, kStrips>& unit, const float* x, std::int64_t x_stride,
                         Sums<kStrips, kRows>& sums, std::integer_sequence<int, kColumns...>) {
  for (std::int64_t group = 0; group < Format::kGroups; ++group, x += Format::kColumns)
    (add_column<Format, kHalf, kColumns, kStrips, kRows>(unit, group, x, x_stride, sums), ...);
}

template <class Format, int kStrips, int kRows, int kColumns = Format::kColumns>
HWY_INLINE void add_unit(const Span& a, std::int64_t index, Sums<kStrips, kRows>& sums) {
  Unit<Format, kStrips> unit;
  unit.index = index;
  STAG_UNROLLED (s, kStrips) {
    unit.strips[s] = {a.strip.scales + s * kStripScaleBytes, a.strip.lines + s * kStripBytes};
    unit.consts[s] = Format::consts(unit.strips[s], index);
  }
  constexpr auto kSequence = std::make_integer_sequence<int, kColumns>();
  const float* x = a.x + index * Format::kUnit;
  add_half<Format, 0, kStrips, kRows>(unit, x, a.x_stride, sums, kSequence);
  if constexpr (Format::kHalves == 2)
    add_half<Format, 1, kStrips, kRows>(unit, x + Format::kUnit / 2, a.x_stride, sums, kSequence);
}

template <class Format, int kStrips, int kRows>
HWY_NOINLINE void tile(const Span& a) {
  Sums<kStrips, kRows> sums;
  STAG_UNROLLED (s, kStrips) {
    STAG_UNROLLED (b, kRows) sums[s][b] = a.first ? splat(0) : load(a.y + b * a.y_stride + s * kStripRows);
  }
  const std::byte* ahead = a.strip.scales + a.ahead;
  for (std::int64_t u = 0; u < a.units; ++u, ahead += Format::kUnitBytes) {
    STAG_UNROLLED (line, static_cast<int>(Format::kUnitBytes / 64)) hwy::Prefetch(ahead + line * 64);
    add_unit<Format, kStrips, kRows>(a, u, sums);
  }
  if constexpr (Format::kUnit == 2)
    if (a.half) add_unit<Format, kStrips, kRows, 1>(a, a.units, sums);
  STAG_UNROLLED (s, kStrips) {
    STAG_UNROLLED (b, kRows) store(sums[s][b], a.y + b * a.y_stride + s * kStripRows);
  }
}

/// A tile of `rows` rows, 1 to kMaxRows.
template <class Format, int kStrips, int kMaxRows, int kRows = 1>
HWY_INLINE void tile_of(std::int64_t rows, const Span& a) {
  if (rows == kRows) return tile<Format, kStrips, kRows>(a);
  if constexpr (kRows < kMaxRows) tile_of<Format, kStrips, kMaxRows, kRows + 1>(rows, a);
}

/// All rows over one span, in tiles of nearly the same height; the first one asks for what comes next.
template <class Format, int kStrips, int kMaxRows>
void rows_of(std::int64_t batch, Span a) {
  const std::int64_t tiles = (batch + kMaxRows - 1) / kMaxRows;
  for (std::int64_t t = 0; t < tiles; ++t) {
    const std::int64_t rows = batch * (t + 1) / tiles - batch * t / tiles;
    tile_of<Format, kStrips, kMaxRows>(rows, a);
    a.x += rows * a.x_stride;
    a.y += rows * a.y_stride;
    a.ahead = 0;
  }
}

/// One panel and all rows: whole if a tile takes them all, else pieces of 8 KiB, short enough for the memory
/// to keep up where few tiles share a piece.
template <class Format>
void panel_product(const Product& a, std::int64_t panel) {
  constexpr std::int64_t kPieceUnits = (std::int64_t{8} << 10) / Format::kUnitBytes;
  constexpr int kMaxRows = kPanelTileRows<Format>;
  const std::int64_t units = a.w.columns / Format::kUnit;
  const bool one_tile = a.batch <= kMaxRows;
  const std::int64_t pieces = one_tile ? 1 : (units + kPieceUnits - 1) / kPieceUnits;
  const StripCursor strip = strip_cursor(a.w, panel * kPanelStrips);
  for (std::int64_t i = 0; i < pieces; ++i) {
    const std::int64_t begin = units * i / pieces, end = units * (i + 1) / pieces;
    const std::int64_t at = begin * Format::kUnitBytes;
    Span span{{strip.scales + at, strip.lines + at},
              end - begin,
              i == 0,
              i == pieces - 1 && a.w.columns % Format::kUnit != 0,
              one_tile ? kPrefetchBytes : (end - begin) * Format::kUnitBytes,
              a.x.values + begin * Format::kUnit,
              a.x.stride,
              a.y + panel * kPanelRows,
              a.y_stride};
    if (kWide || one_tile) {
      rows_of<Format, kPanelStrips, kMaxRows>(a.batch, span);
      continue;
    }
    for (std::int64_t s = 0; s < kPanelStrips; ++s) {
      if constexpr (!kWide) rows_of<Format, 1, kStripTileRows<Format>>(a.batch, span);
      span.strip = {span.strip.scales + kStripScaleBytes, span.strip.lines + kStripBytes};
      span.y += kStripRows;
      span.ahead = 0;
    }
  }
}

template <class Format, int kHalf, int... kColumns>
HWY_INLINE void expand_half(const StripCursor& strip, std::int64_t unit, std::int64_t k_stride, float* out,
                            std::integer_sequence<int, kColumns...>) {
  const typename Format::Consts consts = Format::consts(strip, unit);
  for (std::int64_t group = 0; group < Format::kGroups; ++group, out += Format::kColumns * k_stride)
    (store(Format::template decode<kHalf, kColumns>(strip, unit, group, consts), out + kColumns * k_stride),
     ...);
}

template <class Format>
void expand_strip(const StripCursor& strip, std::int64_t columns, std::int64_t k_stride, float* out) {
  constexpr auto kSequence = std::make_integer_sequence<int, Format::kColumns>();
  std::int64_t k = 0;
  for (; k + Format::kUnit <= columns; k += Format::kUnit, out += Format::kUnit * k_stride) {
    expand_half<Format, 0>(strip, k / Format::kUnit, k_stride, out, kSequence);
    if constexpr (Format::kHalves == 2)
      expand_half<Format, 1>(strip, k / Format::kUnit, k_stride, out + Format::kUnit / 2 * k_stride,
                             kSequence);
  }
  if (k < columns)  // bf16: the last pair holds one column
    expand_half<Format, 0>(strip, k / Format::kUnit, k_stride, out, std::make_integer_sequence<int, 1>());
}

// ---- by format

template <class Body>
void with_format(NumberFormat format, Body&& body) {
  if (format == NumberFormat::f32)
    body(F32Format());
  else if (format == NumberFormat::bf16)
    body(Bf16Format());
  else if (format == NumberFormat::q8_0)
    body(Q8Format());
  else if (format == NumberFormat::q4_0)
    body(Q40Format());
  else
    body(Q41Format());
}

void product_float(const Product& a, std::int64_t begin, std::int64_t end) {
  with_format(a.w.format, [&](auto format) {
    for (std::int64_t panel = begin; panel < end; ++panel) panel_product<decltype(format)>(a, panel);
  });
}

void expand_any(const PackedMatrix& w, std::int64_t panel, std::int64_t k_stride, float* out) {
  with_format(w.format, [&](auto format) {
    for (std::int64_t s = 0; s < kPanelStrips; ++s)
      expand_strip<decltype(format)>(strip_cursor(w, panel * kPanelStrips + s), w.columns, k_stride,
                                     out + s * kStripRows);
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(product_float);
HWY_EXPORT(expand_any);

void matmul_float(const Product& product, std::int64_t panel_begin, std::int64_t panel_end) {
  HWY_DYNAMIC_DISPATCH(product_float)(product, panel_begin, panel_end);
}

void expand_panel(const PackedMatrix& w, std::int64_t panel, std::int64_t k_stride, float* out) {
  HWY_DYNAMIC_DISPATCH(expand_any)(w, panel, k_stride, out);
}

}  // namespace stagformer::internal
#endif
