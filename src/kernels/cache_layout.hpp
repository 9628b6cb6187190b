// Where keys and values of one sequence and one key/value head lie in memory. A position is kept in row
// position % capacity; capacity is a multiple of 64, so 64 positions from a multiple of 64 are never torn.
//
//   keys    by blocks of 64 rows, dimension-major inside: the scores of a block are chains over the
//           dimensions, one lane a row.
//           f32    [capacity / 64][head_dim][64]
//           bf16   [capacity / 64][head_dim / 2][64] u32: low half dimension 2i, high half 2i + 1
//   values  [capacity][value_stride] f32 or bf16; what stands beyond head_dim is never looked at.
//
// bf16 keeps 8 bits of each number: a key or value is off by at most 2^-9 of itself, a score by 2^-9 of
// scale * sum |q k|, so weights by about that much relatively and outputs by 2^-9 of the values besides.
#pragma once

#include <cstddef>
#include <cstdint>

namespace stagformer::internal {

enum class CacheFormat { f32, bf16 };

inline constexpr std::int64_t kCacheBlock = 64;  // rows

inline std::int64_t cache_number_bytes(CacheFormat format) {
  return format == CacheFormat::f32 ? 4 : 2;
}

/// Rows that hold `positions`.
inline std::int64_t cache_capacity(std::int64_t positions) {
  return (positions + kCacheBlock - 1) / kCacheBlock * kCacheBlock;
}

/// Numbers from one value row to the next: whole vectors of 16.
inline std::int64_t value_stride(std::int64_t head_dim) {
  return (head_dim + 15) / 16 * 16;
}

inline std::int64_t key_bytes(CacheFormat format, std::int64_t capacity, std::int64_t head_dim) {
  return capacity * head_dim * cache_number_bytes(format);
}
inline std::int64_t value_bytes(CacheFormat format, std::int64_t capacity, std::int64_t head_dim) {
  return capacity * value_stride(head_dim) * cache_number_bytes(format);
}

/// Number of the key's dimension d in a row, counted in numbers of the format from the first key.
inline std::int64_t key_index(CacheFormat format, std::int64_t head_dim, std::int64_t row, std::int64_t d) {
  const std::int64_t block = row / kCacheBlock * kCacheBlock * head_dim, lane = row % kCacheBlock;
  if (format == CacheFormat::f32) return block + d * kCacheBlock + lane;
  return block + (d / 2 * kCacheBlock + lane) * 2 + d % 2;
}

/// The cache of one sequence and key/value head, as the kernels read it.
struct CacheSpan {
  const std::byte* keys;    ///< null where only values are kept
  const std::byte* values;  ///< both aligned to 64 bytes
  std::int64_t capacity;    ///< rows, a multiple of kCacheBlock
  CacheFormat format;
};

}  // namespace stagformer::internal
