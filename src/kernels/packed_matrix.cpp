#include "kernels/packed_matrix.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "kernels/packed_layout.hpp"

namespace stagformer::internal {
namespace {

// Stored rows of one panel; fewer than 16 in the last one.
struct PanelSource {
  const std::byte* first_row;
  std::int64_t row_bytes;
  std::int64_t rows;

  const std::byte* row(std::int64_t r) const { return first_row + r * row_bytes; }
};

// Columns are taken in runs that keep the 16 source rows and the target in the first-level cache.
constexpr std::int64_t kRun = 64;

void pack_f32(const PanelSource& source, std::int64_t columns, std::byte* panel) {
  for (std::int64_t begin = 0; begin < columns; begin += kRun)
    for (std::int64_t r = 0; r < source.rows; ++r)
      for (std::int64_t k = begin, end = std::min(columns, begin + kRun); k < end; ++k)
        std::memcpy(panel + (k * kPanelRows + r) * 4, source.row(r) + k * 4, 4);
}

void pack_bf16(const PanelSource& source, std::int64_t columns, std::byte* panel) {
  for (std::int64_t begin = 0; begin < columns; begin += kRun)
    for (std::int64_t r = 0; r < source.rows; ++r)
      for (std::int64_t k = begin, end = std::min(columns, begin + kRun); k < end; ++k)
        std::memcpy(panel + (k / 2 * kPanelRows + r) * 4 + k % 2 * 2, source.row(r) + k * 2, 2);
}

// One stored block of one row: scale and minimum to the head of the panel, quants as groups of four bytes.
void pack_block(NumberFormat format, const BlockLayout& layout, const std::byte* stored, std::int64_t row,
                std::byte* scales, std::byte* quants) {
  for (std::int64_t i = 0; i < layout.stored_header / 2; ++i)
    std::memcpy(scales + (i * kPanelRows + row) * 2, stored + 2 * i, 2);
  const std::uint32_t offset = format == NumberFormat::q8_0 ? 0x80808080u : 0;  // two's complement to q + 128
  for (std::int64_t group = 0; group < layout.quant_bytes / kGroupBytes; ++group) {
    std::uint32_t four = 0;
    std::memcpy(&four, stored + layout.stored_header + group * 4, 4);
    four ^= offset;
    std::memcpy(quants + group * kGroupBytes + row * 4, &four, 4);
  }
}

void pack_blocks(NumberFormat format, const PanelSource& source, std::int64_t columns, std::byte* panel) {
  const BlockLayout layout = block_layout(format);
  std::byte* quants = panel + quants_offset(format, columns);
  for (std::int64_t b = 0; b < columns / kBlockValues; ++b)
    for (std::int64_t r = 0; r < source.rows; ++r)
      pack_block(format, layout, source.row(r) + b * layout.stored_bytes, r, panel + b * layout.scale_bytes,
                 quants + b * layout.quant_bytes);
}

}  // namespace

std::int64_t packed_panel_bytes(NumberFormat format, std::int64_t columns) {
  if (format == NumberFormat::f32) return columns * kPanelRows * 4;
  if (format == NumberFormat::bf16) return (columns + 1) / 2 * kPanelRows * 4;
  return quants_offset(format, columns) + columns / kBlockValues * block_layout(format).quant_bytes;
}

std::int64_t packed_bytes(NumberFormat format, std::int64_t rows, std::int64_t columns) {
  return (rows + kPanelRows - 1) / kPanelRows * packed_panel_bytes(format, columns);
}

void pack_panels(NumberFormat format, std::int64_t rows, std::int64_t columns, const std::byte* stored,
                 std::int64_t panel_begin, std::int64_t panel_end, std::byte* packed) {
  const std::int64_t row_bytes = stored_row_bytes(format, columns),
                     panel_bytes = packed_panel_bytes(format, columns);
  STAG_CHECK(panel_begin >= 0 && panel_end * kPanelRows < rows + kPanelRows, panel_begin, panel_end, rows);
  for (std::int64_t p = panel_begin; p < panel_end; ++p) {
    const std::int64_t first = p * kPanelRows;
    const PanelSource source{stored + first * row_bytes, row_bytes, std::min(kPanelRows, rows - first)};
    std::byte* panel = packed + p * panel_bytes;
    std::memset(panel, 0, static_cast<std::size_t>(panel_bytes));
    if (format == NumberFormat::f32)
      pack_f32(source, columns, panel);
    else if (format == NumberFormat::bf16)
      pack_bf16(source, columns, panel);
    else
      pack_blocks(format, source, columns, panel);
  }
}

}  // namespace stagformer::internal
