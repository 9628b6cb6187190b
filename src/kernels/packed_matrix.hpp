// A weight matrix [rows, columns] repacked for products: panels of 32 output rows, k-major inside a panel, so
// that matrix-vector and matrix-matrix products add up in the same order at full speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "stagformer/number_format.hpp"

namespace stagformer::internal {

inline constexpr std::int64_t kPanelRows = 32;

/// Non-owning view. The memory is 64-byte aligned; rows beyond `rows` in the last panel are zero.
struct PackedMatrix {
  NumberFormat format = NumberFormat::f32;
  std::int64_t rows = 0;     ///< outputs
  std::int64_t columns = 0;  ///< inputs, k
  const std::byte* data = nullptr;

  std::int64_t panels() const { return (rows + kPanelRows - 1) / kPanelRows; }
};

/// Bytes of one panel, a multiple of 64.
std::int64_t packed_panel_bytes(NumberFormat format, std::int64_t columns);
/// Bytes of the whole packed matrix.
std::int64_t packed_bytes(NumberFormat format, std::int64_t rows, std::int64_t columns);

/// Packs stored rows (row-major, in the layout of docs/checkpoint-format.md) of panels [panel_begin,
/// panel_end). `stored` is the first byte of row 0 of the matrix, `packed` the first byte of panel 0; threads
/// may pack disjoint panels.
void pack_panels(NumberFormat format, std::int64_t rows, std::int64_t columns, const std::byte* stored,
                 std::int64_t panel_begin, std::int64_t panel_end, std::byte* packed);

/// Row of the first value that is not finite once dequantised, or -1.
std::int64_t first_non_finite_row(NumberFormat format, std::int64_t rows, std::int64_t columns,
                                  const std::byte* stored);

/// One stored row to f32, out: [columns]. Exact: bf16 widened; block formats scale * q (+ minimum) in f32.
void dequantize_row(NumberFormat format, std::int64_t columns, const std::byte* stored_row, float* out);
/// The inverse for writers: f32 to stored, round to nearest even (bf16), GGUF's rules of scale and rounding
/// (blocks).
void quantize_row(NumberFormat format, std::int64_t columns, const float* values, std::byte* stored_row);

}  // namespace stagformer::internal
