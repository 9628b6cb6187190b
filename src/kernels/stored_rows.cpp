// Rows as they are stored in a checkpoint: to f32, from f32, and the search for values that are not finite.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/exponents.hpp"
#include "kernels/number_bits.hpp"
#include "kernels/packed_layout.hpp"
#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {
namespace {

constexpr std::uint16_t kF16NaN = 0x7e00;

std::uint16_t load_u16(const std::byte* from) {
  std::uint16_t bits;
  std::memcpy(&bits, from, 2);
  return bits;
}

void store_u16(std::byte* to, std::uint16_t bits) {
  std::memcpy(to, &bits, 2);
}

// ---- one block of 32 values -> f32
// ------------------------------------------------------------------------------

void dequantize_q8_0(const std::byte* block, float* out) {
  const float scale = float_from_f16(load_u16(block));
  for (int i = 0; i < kBlockValues; ++i)
    out[i] = scale * static_cast<float>(static_cast<std::int8_t>(block[2 + i]));
}

// Low nibbles are values 0-15, high nibbles 16-31.
int nibble(const std::byte* quants, int i) {
  const int byte = std::to_integer<int>(quants[i % 16]);
  return i < 16 ? byte & 15 : byte >> 4;
}

void dequantize_q4_0(const std::byte* block, float* out) {
  const float scale = float_from_f16(load_u16(block));
  for (int i = 0; i < kBlockValues; ++i) out[i] = scale * static_cast<float>(nibble(block + 2, i) - 8);
}

void dequantize_q4_1(const std::byte* block, float* out) {
  const float scale = float_from_f16(load_u16(block)), minimum = float_from_f16(load_u16(block + 2));
  for (int i = 0; i < kBlockValues; ++i) out[i] = scale * static_cast<float>(nibble(block + 4, i)) + minimum;
}

// ---- f32 -> one block
// ------------------------------------------------------------------------------------------- The scale is
// divided out in f32 and only then rounded to f16, as GGUF's writers do: an f16 scale read back and used here
// would give other quants.

float inverse(float scale) {
  const float inverted = scale != 0 ? 1.0f / scale : 0.0f;
  return f32_is_finite(inverted) ? inverted : 0.0f;  // a scale so small that all values are zero in f16
}

void store_nibbles(const std::uint8_t (&q)[kBlockValues], std::byte* to) {
  for (int i = 0; i < 16; ++i) to[i] = static_cast<std::byte>(q[i] | (q[16 + i] << 4));
}

// Scale = largest magnitude / 127; ties of the rounding go away from zero.
void quantize_q8_0(const float* x, std::byte* block) {
  float largest = 0;
  for (int i = 0; i < kBlockValues; ++i) largest = std::max(largest, std::fabs(x[i]));
  const float scale = largest / 127.0f, factor = inverse(scale);
  store_u16(block, f16_from_float(scale));
  for (int i = 0; i < kBlockValues; ++i)
    block[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(std::round(x[i] * factor)));
}

// The value of largest magnitude, sign kept, becomes -8 (nibble 0); halves are rounded up.
void quantize_q4_0(const float* x, std::byte* block) {
  float extreme = 0;
  for (int i = 0; i < kBlockValues; ++i)
    if (std::fabs(x[i]) > std::fabs(extreme)) extreme = x[i];
  const float scale = extreme / -8.0f, factor = inverse(scale);
  std::uint8_t q[kBlockValues];
  for (int i = 0; i < kBlockValues; ++i)
    q[i] = static_cast<std::uint8_t>(std::min(15, static_cast<int>(x[i] * factor + 8.5f)));
  store_u16(block, f16_from_float(scale));
  store_nibbles(q, block + 2);
}

// The smallest value becomes nibble 0, the largest nibble 15.
void quantize_q4_1(const float* x, std::byte* block) {
  const auto [least, most] = std::minmax_element(x, x + kBlockValues);
  const float minimum = *least, scale = (*most - minimum) / 15.0f, factor = inverse(scale);
  std::uint8_t q[kBlockValues];
  for (int i = 0; i < kBlockValues; ++i)
    q[i] = static_cast<std::uint8_t>(std::min(15, static_cast<int>((x[i] - minimum) * factor + 0.5f)));
  store_u16(block, f16_from_float(scale));
  store_u16(block + 2, f16_from_float(minimum));
  store_nibbles(q, block + 4);
}

// A block with a value that is not finite gets a NaN scale: the damage stays visible to first_non_finite_row.
void quantize_block(NumberFormat format, const float* x, std::byte* block) {
  if (!std::all_of(x, x + kBlockValues, f32_is_finite)) {
    std::memset(block, 0, static_cast<std::size_t>(block_layout(format).stored_bytes));
    return store_u16(block, kF16NaN);
  }
  if (format == NumberFormat::q8_0)
    quantize_q8_0(x, block);
  else if (format == NumberFormat::q4_0)
    quantize_q4_0(x, block);
  else
    quantize_q4_1(x, block);
}

// ---- the search for values that are not finite

template <const ExponentTest& kTest>
bool values_are_finite(const std::byte* values, std::int64_t bytes) {
  return !kTest.failed(exponents_seen(kTest, values, bytes));
}

// Scale and minimum of every block; quants may have any pattern.
template <NumberFormat kFormat>
bool blocks_are_finite(const std::byte* block, std::int64_t bytes) {
  constexpr BlockLayout kLayout = block_layout(kFormat);
  std::uint64_t seen = 0;
  for (const std::byte* end = block + bytes; block < end; block += kLayout.stored_bytes) {
    std::uint64_t word = 0;
    std::memcpy(&word, block, kLayout.stored_header);
    seen |= kF16Test.of(word);
  }
  return !kF16Test.failed(seen);
}

bool rows_are_finite(NumberFormat format, const std::byte* stored, std::int64_t bytes) {
  switch (format) {
    case NumberFormat::f32:
      return values_are_finite<kF32Test>(stored, bytes);
    case NumberFormat::bf16:
      return values_are_finite<kBf16Test>(stored, bytes);
    case NumberFormat::q8_0:
      return blocks_are_finite<NumberFormat::q8_0>(stored, bytes);
    case NumberFormat::q4_0:
      return blocks_are_finite<NumberFormat::q4_0>(stored, bytes);
    case NumberFormat::q4_1:
      break;
  }
  return blocks_are_finite<NumberFormat::q4_1>(stored, bytes);
}

}  // namespace

std::int64_t first_non_finite_row(NumberFormat format, std::int64_t rows, std::int64_t columns,
                                  const std::byte* stored) {
  const std::int64_t row_bytes = stored_row_bytes(format, columns);
  if (rows_are_finite(format, stored, rows * row_bytes)) return -1;
  for (std::int64_t r = 0; r < rows; ++r)
    if (!rows_are_finite(format, stored + r * row_bytes, row_bytes)) return r;
  return -1;
}

void dequantize_row(NumberFormat format, std::int64_t columns, const std::byte* stored_row, float* out) {
  if (format == NumberFormat::f32) {
    std::memcpy(out, stored_row, static_cast<std::size_t>(columns) * 4);
  } else if (format == NumberFormat::bf16) {
    for (std::int64_t k = 0; k < columns; ++k) out[k] = float_from_bf16(load_u16(stored_row + 2 * k));
  } else {
    const auto dequantize = format == NumberFormat::q8_0   ? dequantize_q8_0
                            : format == NumberFormat::q4_0 ? dequantize_q4_0
                                                           : dequantize_q4_1;
    const std::int64_t bytes = block_layout(format).stored_bytes;
    for (std::int64_t b = 0; b < columns / kBlockValues; ++b)
      dequantize(stored_row + b * bytes, out + b * kBlockValues);
  }
}

void quantize_row(NumberFormat format, std::int64_t columns, const float* values, std::byte* stored_row) {
  if (format == NumberFormat::f32) {
    std::memcpy(stored_row, values, static_cast<std::size_t>(columns) * 4);
  } else if (format == NumberFormat::bf16) {
    for (std::int64_t k = 0; k < columns; ++k) store_u16(stored_row + 2 * k, bf16_from_float(values[k]));
  } else {
    const std::int64_t bytes = block_layout(format).stored_bytes;
    for (std::int64_t b = 0; b < columns / kBlockValues; ++b)
      quantize_block(format, values + b * kBlockValues, stored_row + b * bytes);
  }
}

}  // namespace stagformer::internal
