// Where things lie inside one packed panel of 32 output rows (r = 0..31).
//
// A panel is one sequential stream of lines of 128 bytes, [32 rows] x 4 bytes, in the order of the columns k:
//
//   f32    K lines: line k holds the values of column k.
//   bf16   ceil(K / 2) lines: in line i the low half of row r's word is k = 2i, the high half k = 2i + 1
//   (zero
//          beyond an odd K), so a shift or a mask widens 16 values to f32.
//   q8_0   K / 32 units: [32] f16 scales (64 bytes), then 8 lines: byte j of line g is k = 32 b + 4 g + j,
//   stored
//          as q + 128 (unsigned, as u8 x s8 dot product instructions take it).
//   q4_0   K / 32 units: [32] f16 scales, then 4 lines: the low nibbles of byte j of line g are k = 32 b + 4
//   g + j,
//          the high nibbles k = 32 b + 16 + 4 g + j, stored as q + 8 (0..15).
//   q4_1   K / 32 units: [32] f16 scales, [32] f16 minima, then lines as q4_0; value = scale * nibble +
//   minimum.
//
// Nothing is padded: a packed panel has the size of its 32 stored rows (but for the last bf16 pair). Kernels
// read the left or the right 16 rows of a line, a "strip"; scales stand beside their quants, because a
// product of one row runs at the speed of memory only where it reads a single ascending stream.
#pragma once

#include <cstdint>

#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

inline constexpr std::int64_t kStripRows = 16;
inline constexpr std::int64_t kPanelStrips = kPanelRows / kStripRows;
inline constexpr std::int64_t kLineBytes = kPanelRows * 4;
inline constexpr std::int64_t kStripBytes = kStripRows * 4;       ///< a strip's part of a line
inline constexpr std::int64_t kStripScaleBytes = kStripRows * 2;  ///< and of a unit's scales

/// Products of few rows ask for the packed stream this far ahead, across the borders of panels.
inline constexpr std::int64_t kPrefetchBytes = 8192;

/// How a block format is laid out in a panel; `q4_1` has minima behind the scales.
struct BlockLayout {
  std::int64_t header_bytes;   ///< a unit's scales and minima, all 32 rows
  std::int64_t lines;          ///< a unit's lines of quants
  std::int64_t stored_header;  ///< scale and minimum of one stored block of one row
  std::int64_t stored_bytes;   ///< all of that stored block

  constexpr std::int64_t unit_bytes() const { return header_bytes + lines * kLineBytes; }
};

constexpr BlockLayout block_layout(NumberFormat format) {
  if (format == NumberFormat::q8_0) return {64, 8, 2, 34};
  if (format == NumberFormat::q4_0) return {64, 4, 2, 18};
  return {128, 4, 4, 20};
}

}  // namespace stagformer::internal
