#include "kernels/packed_matrix.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "kernels/packed_layout.hpp"
#include "kernels/whole_panel.hpp"

namespace stagformer::internal {
namespace {

// Stored rows of one panel; fewer than 32 in the last one.
struct PanelSource {
  const std::byte* first_row;
  std::int64_t row_bytes;
  std::int64_t rows;

  const std::byte* row(std::int64_t r) const { return first_row + r * row_bytes; }
};

// Words of a row that are packed together: 32 rows of them and the lines they go to stay in the first-level
// cache.
constexpr std::int64_t kRunWords = 64;

inline void copy_word(const std::byte* from, std::byte* to, std::uint32_t flip = 0) {
  std::uint32_t word = 0;
  std::memcpy(&word, from, 4);
  word ^= flip;
  std::memcpy(to, &word, 4);
}

/// f32 values or bf16 pairs: word i of row r to line i.
void pack_words(const PanelSource& source, std::int64_t words, std::byte* panel) {
  for (std::int64_t begin = 0; begin < words; begin += kRunWords)
    for (std::int64_t r = 0; r < source.rows; ++r)
      for (std::int64_t i = begin, end = std::min(words, begin + kRunWords); i < end; ++i)
        copy_word(source.row(r) + i * 4, panel + i * kLineBytes + r * 4);
}

/// The last column of an odd number of bf16 columns: the low half of the words of the last line.
void pack_last_bf16(const PanelSource& source, std::int64_t columns, std::byte* panel) {
  for (std::int64_t r = 0; r < source.rows; ++r)
    std::memcpy(panel + columns / 2 * kLineBytes + r * 4, source.row(r) + (columns - 1) * 2, 2);
}

/// One stored block of every row to one unit.
template <NumberFormat kFormat>
void pack_unit(const PanelSource& source, std::int64_t block, std::byte* unit) {
  constexpr BlockLayout kLayout = block_layout(kFormat);
  constexpr std::uint32_t kFlip =
      kFormat == NumberFormat::q8_0 ? 0x80808080u : 0;  // two's complement to q + 128
  for (std::int64_t r = 0; r < source.rows; ++r) {
    const std::byte* stored = source.row(r) + block * kLayout.stored_bytes;
    for (std::int64_t i = 0; i < kLayout.stored_header / 2; ++i)
      std::memcpy(unit + (i * kPanelRows + r) * 2, stored + 2 * i, 2);
    for (std::int64_t line = 0; line < kLayout.lines; ++line)
      copy_word(stored + kLayout.stored_header + line * 4,
                unit + kLayout.header_bytes + line * kLineBytes + r * 4, kFlip);
  }
}

template <NumberFormat kFormat>
void pack_units(const PanelSource& source, std::int64_t columns, std::byte* panel) {
  for (std::int64_t b = 0; b < columns / kBlockValues; ++b)
    pack_unit<kFormat>(source, b, panel + b * block_layout(kFormat).unit_bytes());
}

void pack_panel(NumberFormat format, const PanelSource& source, std::int64_t columns, std::byte* panel) {
  if (format == NumberFormat::f32) return pack_words(source, columns, panel);
  if (format == NumberFormat::q8_0) return pack_units<NumberFormat::q8_0>(source, columns, panel);
  if (format == NumberFormat::q4_0) return pack_units<NumberFormat::q4_0>(source, columns, panel);
  if (format == NumberFormat::q4_1) return pack_units<NumberFormat::q4_1>(source, columns, panel);
  pack_words(source, columns / 2, panel);
  if (columns % 2 != 0) pack_last_bf16(source, columns, panel);
}

}  // namespace

std::int64_t packed_panel_bytes(NumberFormat format, std::int64_t columns) {
  if (format == NumberFormat::f32) return columns * kLineBytes;
  if (format == NumberFormat::bf16) return (columns + 1) / 2 * kLineBytes;
  return columns / kBlockValues * block_layout(format).unit_bytes();
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
    const bool whole = source.rows == kPanelRows && (format != NumberFormat::bf16 || columns % 2 == 0);
    if (whole) {
      pack_whole_panel(format, columns, source.first_row, row_bytes, panel);
    } else {
      std::memset(panel, 0, static_cast<std::size_t>(panel_bytes));
      pack_panel(format, source, columns, panel);
    }
  }
}

}  // namespace stagformer::internal
