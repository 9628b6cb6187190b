// Products of packed panels. Every output has one chain acc = fma(x[k], w[k], acc), k ascending from zero:
// batch, tile shape, threads and vector width change which chains run side by side, never a chain.
//
// Few rows of x: panels are decoded straight into the chains ("direct"). Many: a piece of a panel group is
// decoded once into a scratch buffer, and tiles of rows run over it; accumulators rest in y between pieces.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/matmul_native.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <utility>

#include "kernels/decode-inl.hpp"
#include "kernels/matmul_paths.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

// The register tile: panels x rows of x, as the instruction set's registers allow (32 of 16 lanes, 16 of 8 or
// 4).
inline constexpr bool kWide = kParts == 1;
inline constexpr int kTilePanels = kWide ? 4 : 1;
inline constexpr int kTileRows = kParts <= 2 ? 6 : 2;
inline constexpr int kDirectRows = kParts <= 2 ? 4 : 2;

inline constexpr std::int64_t kGroupPanels = 4;  // panels decoded together
inline constexpr std::int64_t kPieceColumns =
    128;  // decoded together: 32 KiB a group, a multiple of every unit

template <int kPanels, int kRows>
using Tile = V16[kPanels][kRows];

template <int kPanels, int kRows>
HWY_INLINE void accumulate(const V16 (&w)[kPanels], const float* x, std::int64_t x_stride,
                           Tile<kPanels, kRows>& acc) {
  STAG_UNROLLED (b, kRows) {
    const V16 xk = splat(x[b * x_stride]);
    STAG_UNROLLED (p, kPanels) acc[p][b] = fma(xk, w[p], acc[p][b]);
  }
}

template <int kPanels, int kRows>
HWY_INLINE void store_tile(const Tile<kPanels, kRows>& acc, float* y, std::int64_t y_stride) {
  STAG_UNROLLED (p, kPanels) {
    STAG_UNROLLED (b, kRows) store(acc[p][b], y + b * y_stride + p * kPanelRows);
  }
}

// ---- few rows: straight from the packed panels
// -------------------------------------------------------------------

template <class Format, int kPanels>
struct DirectUnit {
  const PanelCursor (&panels)[kPanels];
  std::int64_t index;
  typename Format::Consts consts[kPanels];
};

template <class Format, int kHalf, int kColumn, int kPanels, int kRows>
HWY_INLINE void direct_column(const DirectUnit<Format, kPanels>& unit, std::int64_t group, const float* x,
                              std::int64_t x_stride, Tile<kPanels, kRows>& acc) {
  V16 w[kPanels];
  STAG_UNROLLED (p, kPanels) {
    w[p] = Format::template decode<kHalf, kColumn>(unit.panels[p], unit.index, group, unit.consts[p]);
  }
  accumulate<kPanels, kRows>(w, x + kColumn, x_stride, acc);
}

// The columns of one half, ascending: groups in a loop, the columns of a group unrolled.
template <class Format, int kHalf, int kPanels, int kRows, int... kColumns>
HWY_INLINE void direct_half(const DirectUnit<Format, kPanels>& unit, const float* x, std::int64_t x_stride,
                            Tile<kPanels, kRows>& acc, std::integer_sequence<int, kColumns...>) {
  for (std::int64_t group = 0; group < Format::kGroups; ++group, x += Format::kColumns)
    (direct_column<Format, kHalf, kColumns, kPanels, kRows>(unit, group, x, x_stride, acc), ...);
}

template <class Format, int kPanels, int kRows, int kColumns = Format::kColumns>
HWY_INLINE void direct_unit(const PanelCursor (&panels)[kPanels], std::int64_t index, const float* x,
                            std::int64_t x_stride, Tile<kPanels, kRows>& acc) {
  DirectUnit<Format, kPanels> unit{panels, index, {}};
  STAG_UNROLLED (p, kPanels) unit.consts[p] = Format::consts(panels[p], index);
  constexpr auto kSequence = std::make_integer_sequence<int, kColumns>();
  x += index * Format::kUnit;
  direct_half<Format, 0, kPanels, kRows>(unit, x, x_stride, acc, kSequence);
  if constexpr (Format::kHalves == 2)
    direct_half<Format, 1, kPanels, kRows>(unit, x + Format::kUnit / 2, x_stride, acc, kSequence);
}

template <class Format, int kPanels, int kRows>
HWY_NOINLINE void direct_tile(const Product& a, std::int64_t panel) {
  PanelCursor panels[kPanels];
  Tile<kPanels, kRows> acc;
  STAG_UNROLLED (p, kPanels) {
    panels[p] = panel_cursor(a.w, panel + p);
    STAG_UNROLLED (b, kRows) acc[p][b] = splat(0);
  }
  const std::int64_t units = a.w.columns / Format::kUnit;
  for (std::int64_t u = 0; u < units; ++u)
    direct_unit<Format, kPanels, kRows>(panels, u, a.x, a.x_stride, acc);
  if (Format::kUnit == 2 && a.w.columns % 2 != 0)  // bf16: the last pair holds one column
    direct_unit<Format, kPanels, kRows, 1>(panels, units, a.x, a.x_stride, acc);
  store_tile<kPanels, kRows>(acc, a.y + panel * kPanelRows, a.y_stride);
}

// More rows leave registers for fewer panels; there are always chains enough to hide the latency of fma.
template <class Format, int kRows>
void direct_rows(const Product& a, std::int64_t panel, std::int64_t end) {
  constexpr int kPanels = kWide ? (kRows <= 2 ? 4 : 2) : (kRows == 1 && kParts == 2 ? 2 : 1);
  for (; panel + kPanels <= end; panel += kPanels) direct_tile<Format, kPanels, kRows>(a, panel);
  for (; panel < end; ++panel) direct_tile<Format, 1, kRows>(a, panel);
}

template <class Format>
void direct(const Product& a, std::int64_t begin, std::int64_t end) {
  if (a.batch == 1) return direct_rows<Format, 1>(a, begin, end);
  if (a.batch == 2) return direct_rows<Format, 2>(a, begin, end);
  if constexpr (kDirectRows > 2) {
    if (a.batch == 3) return direct_rows<Format, 3>(a, begin, end);
    return direct_rows<Format, 4>(a, begin, end);
  }
}

// ---- many rows: decoded pieces
// -----------------------------------------------------------------------------------

/// f32 weights of a piece of a panel group: (k, r) of panel p at data + p * panel_stride + k * 16 + r.
struct Piece {
  const float* data;
  std::int64_t panel_stride;
  std::int64_t columns;
  bool first;  ///< chains start at zero, not at what y holds
};

/// Rows of x (from the piece's first column) and of y (from its first panel).
struct PieceRows {
  std::int64_t count;
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;

  PieceRows after(std::int64_t rows) const {
    return {count - rows, x + rows * x_stride, x_stride, y + rows * y_stride, y_stride};
  }
};

template <int kPanels, int kRows>
HWY_NOINLINE void piece_tile(const Piece& piece, const PieceRows& rows) {
  Tile<kPanels, kRows> acc;
  STAG_UNROLLED (p, kPanels) {
    STAG_UNROLLED (b, kRows) {
      acc[p][b] = piece.first ? splat(0) : load(rows.y + b * rows.y_stride + p * kPanelRows);
    }
  }
  for (std::int64_t k = 0; k < piece.columns; ++k) {
    V16 w[kPanels];
    STAG_UNROLLED (p, kPanels) w[p] = load(piece.data + p * piece.panel_stride + k * kPanelRows);
    accumulate<kPanels, kRows>(w, rows.x + k, rows.x_stride, acc);
  }
  store_tile<kPanels, kRows>(acc, rows.y, rows.y_stride);
}

/// The rows left over, at most kRows.
template <int kPanels, int kRows>
void piece_rest(const Piece& piece, const PieceRows& rows) {
  if (rows.count == kRows) return piece_tile<kPanels, kRows>(piece, rows);
  if constexpr (kRows > 1) piece_rest<kPanels, kRows - 1>(piece, rows);
}

template <int kPanels>
void piece_rows(const Piece& piece, PieceRows rows) {
  for (; rows.count > kTileRows; rows = rows.after(kTileRows)) piece_tile<kPanels, kTileRows>(piece, rows);
  piece_rest<kPanels, kTileRows>(piece, rows);
}

void piece_group(const Product& a, Piece piece, std::int64_t panel, std::int64_t end, std::int64_t column) {
  PieceRows rows{a.batch, a.x + column, a.x_stride, a.y + panel * kPanelRows, a.y_stride};
  for (; panel + kTilePanels <= end; panel += kTilePanels) {
    piece_rows<kTilePanels>(piece, rows);
    piece.data += kTilePanels * piece.panel_stride;
    rows.y += kTilePanels * kPanelRows;
  }
  for (; panel < end; ++panel) {
    piece_rows<1>(piece, rows);
    piece.data += piece.panel_stride;
    rows.y += kPanelRows;
  }
}

template <class Format, int kHalf, int... kColumns>
HWY_INLINE void expand_half(const PanelCursor& panel, std::int64_t unit, std::int64_t k_stride, float* out,
                            std::integer_sequence<int, kColumns...>) {
  const typename Format::Consts consts = Format::consts(panel, unit);
  for (std::int64_t group = 0; group < Format::kGroups; ++group, out += Format::kColumns * k_stride)
    (store(Format::template decode<kHalf, kColumns>(panel, unit, group, consts), out + kColumns * k_stride),
     ...);
}

/// Columns [begin, end) of one panel, begin a multiple of the unit.
template <class Format>
void expand_columns(const PanelCursor& panel, std::int64_t begin, std::int64_t end, std::int64_t k_stride,
                    float* out) {
  constexpr auto kSequence = std::make_integer_sequence<int, Format::kColumns>();
  std::int64_t k = begin;
  for (; k + Format::kUnit <= end; k += Format::kUnit, out += Format::kUnit * k_stride) {
    expand_half<Format, 0>(panel, k / Format::kUnit, k_stride, out, kSequence);
    if constexpr (Format::kHalves == 2)
      expand_half<Format, 1>(panel, k / Format::kUnit, k_stride, out + Format::kUnit / 2 * k_stride,
                             kSequence);
  }
  if (k < end)  // bf16: the last pair holds one column
    expand_half<Format, 0>(panel, k / Format::kUnit, k_stride, out, std::make_integer_sequence<int, 1>());
}

template <class Format>
void by_pieces(const Product& a, std::int64_t begin, std::int64_t end) {
  alignas(64) float scratch[kGroupPanels * kPieceColumns * kPanelRows];
  for (std::int64_t panel = begin; panel < end; panel += kGroupPanels) {
    const std::int64_t group_end = std::min(panel + kGroupPanels, end);
    for (std::int64_t column = 0; column < a.w.columns; column += kPieceColumns) {
      const std::int64_t columns = std::min(kPieceColumns, a.w.columns - column);
      Piece piece{scratch, kPieceColumns * kPanelRows, columns, column == 0};
      if constexpr (Format::kUnit == 1) {  // f32 needs no decoding
        piece.panel_stride = a.w.columns * kPanelRows;
        piece.data = reinterpret_cast<const float*>(panel_cursor(a.w, panel).values) + column * kPanelRows;
      } else {
        for (std::int64_t p = panel; p < group_end; ++p)
          expand_columns<Format>(panel_cursor(a.w, p), column, column + columns, kPanelRows,
                                 scratch + (p - panel) * piece.panel_stride);
      }
      piece_group(a, piece, panel, group_end, column);
    }
  }
}

// ---- by format
// ---------------------------------------------------------------------------------------------------

template <class Format>
void product(const Product& a, std::int64_t begin, std::int64_t end) {
  if (a.batch <= kDirectRows)
    direct<Format>(a, begin, end);
  else
    by_pieces<Format>(a, begin, end);
}

void product_any(const Product& a, std::int64_t begin, std::int64_t end) {
  if (a.w.format == NumberFormat::f32)
    product<F32Format>(a, begin, end);
  else if (a.w.format == NumberFormat::bf16)
    product<Bf16Format>(a, begin, end);
  else if (a.w.format == NumberFormat::q8_0)
    product<Q8Format>(a, begin, end);
  else if (a.w.format == NumberFormat::q4_0)
    product<Q40Format>(a, begin, end);
  else
    product<Q41Format>(a, begin, end);
}

void expand_any(const PackedMatrix& w, std::int64_t panel, std::int64_t k_stride, float* out) {
  const PanelCursor cursor = panel_cursor(w, panel);
  const auto expand = w.format == NumberFormat::f32    ? expand_columns<F32Format>
                      : w.format == NumberFormat::bf16 ? expand_columns<Bf16Format>
                      : w.format == NumberFormat::q8_0 ? expand_columns<Q8Format>
                      : w.format == NumberFormat::q4_0 ? expand_columns<Q40Format>
                                                       : expand_columns<Q41Format>;
  expand(cursor, 0, w.columns, k_stride, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(product_any);
HWY_EXPORT(expand_any);

void matmul_native(const Product& product, std::int64_t panel_begin, std::int64_t panel_end) {
  if (product.batch > 0) HWY_DYNAMIC_DISPATCH(product_any)(product, panel_begin, panel_end);
}

void expand_panel(const PackedMatrix& w, std::int64_t panel, std::int64_t k_stride, float* out) {
  HWY_DYNAMIC_DISPATCH(expand_any)(w, panel, k_stride, out);
}

}  // namespace stagformer::internal
#endif
