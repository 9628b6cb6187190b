// Where things lie inside one packed panel of 16 output rows (r = 0..15); K = columns, blocks = K / 32.
//
//   f32    K x [16] f32: value of (k, r) at 64 k + 4 r.
//   bf16   ceil(K / 2) x [16] u32: low half k = 2i, high half k = 2i + 1 (zero beyond an odd K), so a shift
//   or a mask
//          widens 16 values to f32.
//   q8_0   blocks x [16] f16 scales, padded to 64 bytes; then blocks x [8 groups][16 rows][4 bytes]: byte j
//   of group g
//          is k = 32 b + 4 g + j, stored as q + 128 (unsigned, as u8 x s8 dot product instructions take it).
//   q4_0   scales as above; then blocks x [4 groups][16 rows][4 bytes]: the low nibbles of byte j of group g
//   are
//          k = 32 b + 4 g + j, the high nibbles k = 32 b + 16 + 4 g + j, stored as q + 8 (0..15).
//   q4_1   blocks x ([16] f16 scales, [16] f16 minima); then nibbles as q4_0, value = scale * nibble +
//   minimum.
//
// Scales stand at the head of the panel, so that every 64-byte vector of quants is aligned to a cache line.
#pragma once

#include <cstdint>

#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

inline constexpr std::int64_t kLine = 64;
inline constexpr std::int64_t kGroupBytes = 64;  // 4 bytes of each of 16 rows

/// How a block format is laid out in a panel; `q4_1` has minima beside the scales.
struct BlockLayout {
  std::int64_t scale_bytes;    ///< a block's scales and minima, all 16 rows
  std::int64_t quant_bytes;    ///< a block's quants, all 16 rows
  std::int64_t stored_bytes;   ///< one stored block of one row
  std::int64_t stored_header;  ///< its scale and minimum
};

inline BlockLayout block_layout(NumberFormat format) {
  if (format == NumberFormat::q8_0) return {32, 512, 34, 2};
  if (format == NumberFormat::q4_0) return {32, 256, 18, 2};
  return {64, 256, 20, 4};
}

/// First byte of the quants in a panel of a block format.
inline std::int64_t quants_offset(NumberFormat format, std::int64_t columns) {
  const std::int64_t bytes = block_layout(format).scale_bytes * (columns / kBlockValues);
  return (bytes + kLine - 1) / kLine * kLine;
}

}  // namespace stagformer::internal
