#include "kernels/packed_row.hpp"

#include <cstring>

#include "base/check.hpp"
#include "kernels/number_bits.hpp"
#include "kernels/packed_layout.hpp"

namespace stagformer::internal {
namespace {

constexpr std::int64_t kMostBlockBytes = 34;

/// `unit` is that of the row's panel, `r` the row inside the panel; block: as stored.
void unpack_block(NumberFormat format, const std::byte* unit, std::int64_t r, std::byte* block) {
  const BlockLayout layout = block_layout(format);
  for (std::int64_t i = 0; i < layout.stored_header / 2; ++i)
    std::memcpy(block + 2 * i, unit + (i * kPanelRows + r) * 2, 2);
  for (std::int64_t line = 0; line < layout.lines; ++line) {
    std::uint32_t word = 0;
    std::memcpy(&word, unit + layout.header_bytes + line * kLineBytes + r * 4, 4);
    if (format == NumberFormat::q8_0) word ^= 0x80808080u;  // q + 128 to two's complement
    std::memcpy(block + layout.stored_header + line * 4, &word, 4);
  }
}

}  // namespace

void dequantize_packed_row(const PackedMatrix& matrix, std::int64_t row, float* out) {
  STAG_CHECK(row >= 0 && row < matrix.rows, row, matrix.rows);
  const std::byte* panel = matrix.data + row / kPanelRows * packed_panel_bytes(matrix.format, matrix.columns);
  const std::int64_t r = row % kPanelRows;
  if (matrix.format == NumberFormat::f32) {
    for (std::int64_t k = 0; k < matrix.columns; ++k) std::memcpy(out + k, panel + k * kLineBytes + r * 4, 4);
  } else if (matrix.format == NumberFormat::bf16) {
    for (std::int64_t k = 0; k < matrix.columns; ++k) {
      std::uint16_t bits = 0;
      std::memcpy(&bits, panel + k / 2 * kLineBytes + r * 4 + k % 2 * 2, 2);
      out[k] = float_from_bf16(bits);
    }
  } else {
    std::byte block[kMostBlockBytes];
    for (std::int64_t b = 0; b < matrix.columns / kBlockValues; ++b) {
      unpack_block(matrix.format, panel + b * block_layout(matrix.format).unit_bytes(), r, block);
      dequantize_row(matrix.format, kBlockValues, block, out + b * kBlockValues);
    }
  }
}

}  // namespace stagformer::internal
