#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernel_data.hpp"
#include "kernels/exponents.hpp"
#include "kernels/number_bits.hpp"
#include "kernels/packed_row.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using Bytes = std::vector<std::byte>;

Bytes quantized(NumberFormat format, const std::vector<float>& values) {
  const auto columns = static_cast<std::int64_t>(values.size());
  Bytes stored(static_cast<std::size_t>(stored_row_bytes(format, columns)));
  quantize_row(format, columns, values.data(), stored.data());
  return stored;
}

std::vector<float> dequantized(NumberFormat format, std::int64_t columns, const Bytes& stored) {
  std::vector<float> values(static_cast<std::size_t>(columns));
  dequantize_row(format, columns, stored.data(), values.data());
  return values;
}

int at(const Bytes& bytes, std::size_t i) {
  return std::to_integer<int>(bytes[i]);
}
std::uint16_t half_at(const Bytes& bytes, std::size_t i) {
  return static_cast<std::uint16_t>(at(bytes, i) | (at(bytes, i + 1) << 8));
}

// Value 2 has the largest magnitude, 127 -> scale 1; halves go away from zero.
TEST(Quantize, Q8ByHand) {
  std::vector<float> x(32, 0.0f);
  x[0] = 0.5f, x[1] = -0.5f, x[2] = -127, x[3] = 2.4f, x[31] = 126.6f;
  const Bytes stored = quantized(NumberFormat::q8_0, x);
  ASSERT_EQ(stored.size(), 34u);
  EXPECT_EQ(half_at(stored, 0), 0x3c00);
  EXPECT_EQ(at(stored, 2), 1);
  EXPECT_EQ(at(stored, 3), 255);  // -1
  EXPECT_EQ(at(stored, 4), 129);  // -127
  EXPECT_EQ(at(stored, 5), 2);
  EXPECT_EQ(at(stored, 33), 127);
}

// -16 is the extreme: scale 2, nibble 0. +16 would be nibble 16 and is held at 15.
TEST(Quantize, Q4_0ByHand) {
  std::vector<float> x(32, 0.0f);
  x[0] = -16, x[1] = 16, x[2] = 1, x[16] = 3, x[17] = -2.9f;
  const Bytes stored = quantized(NumberFormat::q4_0, x);
  ASSERT_EQ(stored.size(), 18u);
  EXPECT_EQ(half_at(stored, 0), 0x4000);
  EXPECT_EQ(at(stored, 2), 0 | (10 << 4));  // x[16]: 1.5 + 8.5 = 10
  EXPECT_EQ(at(stored, 3), 15 | (7 << 4));  // x[17]: -1.45 + 8.5 = 7.05
  EXPECT_EQ(at(stored, 4), 9 | (8 << 4));   // x[2]: 0.5 + 8.5 = 9; x[18]: zero
  const std::vector<float> back = dequantized(NumberFormat::q4_0, 32, stored);
  EXPECT_EQ(back[0], -16);
  EXPECT_EQ(back[1], 14);
  EXPECT_EQ(back[2], 2);
  EXPECT_EQ(back[16], 4);
  EXPECT_EQ(back[17], -2);
  EXPECT_EQ(back[31], 0);
}

// A positive extreme gives a negative scale.
TEST(Quantize, Q4_0PositiveExtreme) {
  std::vector<float> x(32, 0.0f);
  x[5] = 8, x[6] = -8;
  const Bytes stored = quantized(NumberFormat::q4_0, x);
  EXPECT_EQ(half_at(stored, 0), 0xbc00);
  const std::vector<float> back = dequantized(NumberFormat::q4_0, 32, stored);
  EXPECT_EQ(back[5], 8);
  EXPECT_EQ(back[6], -7);
}

// From -1 to 14: scale 1, minimum -1.
TEST(Quantize, Q4_1ByHand) {
  std::vector<float> x(32, 0.0f);
  x[3] = -1, x[20] = 14, x[4] = 0.5f;
  const Bytes stored = quantized(NumberFormat::q4_1, x);
  ASSERT_EQ(stored.size(), 20u);
  EXPECT_EQ(half_at(stored, 0), 0x3c00);
  EXPECT_EQ(half_at(stored, 2), 0xbc00);
  EXPECT_EQ(at(stored, 4 + 3), 0 | (1 << 4));
  EXPECT_EQ(at(stored, 4 + 4), 2 | (15 << 4));  // x[4]: 1.5 + 0.5 = 2
  const std::vector<float> back = dequantized(NumberFormat::q4_1, 32, stored);
  EXPECT_EQ(back[3], -1);
  EXPECT_EQ(back[20], 14);
  EXPECT_EQ(back[4], 1);
}

TEST(Quantize, ZerosAndTinyValuesStayFinite) {
  for (const NumberFormat format : {NumberFormat::q8_0, NumberFormat::q4_0, NumberFormat::q4_1})
    for (const float value : {0.0f, 1e-45f, -1e-45f, 1e-30f}) {
      const Bytes stored = quantized(format, std::vector<float>(64, value));
      EXPECT_EQ(first_non_finite_row(format, 1, 64, stored.data()), -1);
      for (const float back : dequantized(format, 64, stored)) EXPECT_NEAR(back, value, 1e-24f);
    }
}

// Half a step, and a little for the scale's own rounding to f16.
TEST(Quantize, ErrorIsBoundedByTheStep) {
  const std::vector<float> x = random_values(32 * 40, 3);
  const double half_ulp = 0x1p-11;
  for (const auto& [format, steps, levels] :
       {std::tuple{NumberFormat::q8_0, 0.5, 127.0},
        std::tuple{NumberFormat::q4_0, 1.0, 8.0},  // +extreme is cut by a step
        std::tuple{NumberFormat::q4_1, 0.5, 15.0}}) {
    const std::vector<float> back = dequantized(format, 32 * 40, quantized(format, x));
    for (std::size_t block = 0; block < 40; ++block) {
      const auto begin = x.begin() + static_cast<std::ptrdiff_t>(block) * 32;
      const auto [low, high] = std::minmax_element(begin, begin + 32);
      const double largest = std::max(std::fabs(*low), std::fabs(*high));
      const double step = (format == NumberFormat::q4_1 ? *high - *low : largest) / levels;
      for (std::size_t i = block * 32; i < block * 32 + 32; ++i)
        EXPECT_LE(std::fabs(back[i] - x[i]), steps * step + 3 * half_ulp * largest)
            << name_of(format) << ' ' << i;
    }
  }
}

TEST(Dequantize, Q4NibblesAreSplitInHalves) {
  Bytes stored(18);
  stored[1] = std::byte{0x3c};  // scale 1
  for (int i = 0; i < 16; ++i) stored[2 + i] = static_cast<std::byte>(i | ((15 - i) << 4));
  const std::vector<float> values = dequantized(NumberFormat::q4_0, 32, stored);
  for (int i = 0; i < 16; ++i) {
    EXPECT_EQ(values[i], i - 8);
    EXPECT_EQ(values[16 + i], 7 - i);
  }
}

TEST(FirstNonFinite, FindsTheRowInEveryFormat) {
  const std::int64_t rows = 7, columns = 96;
  for (const NumberFormat format : kAllFormats) {
    const TestMatrix clean(format, rows, columns, 5);
    EXPECT_EQ(first_non_finite_row(format, rows, columns, clean.stored.data()), -1) << name_of(format);
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()})
      for (const std::int64_t column : {0, 40, 95}) {
        std::vector<float> row = random_values(columns, 6);
        row[static_cast<std::size_t>(column)] = bad;
        Bytes stored = clean.stored;
        const std::int64_t row_bytes = stored_row_bytes(format, columns);
        quantize_row(format, columns, row.data(), stored.data() + 4 * row_bytes);
        EXPECT_EQ(first_non_finite_row(format, rows, columns, stored.data()), 4)
            << name_of(format) << ' ' << column;
      }
  }
}

TEST(FirstNonFinite, ScalesAndMinimaOfBlocks) {
  for (const NumberFormat format : {NumberFormat::q8_0, NumberFormat::q4_0, NumberFormat::q4_1})
    for (const std::uint16_t bad : {0x7c00, 0xfc00, 0x7e01})
      for (const std::int64_t offset : {0, 2}) {
        if (offset == 2 && format != NumberFormat::q4_1) continue;
        TestMatrix matrix(format, 3, 64, 8);
        std::memcpy(matrix.stored.data() + matrix.stored.size() - matrix.stored.size() / 6 + offset, &bad, 2);
        EXPECT_EQ(first_non_finite_row(format, 3, 64, matrix.stored.data()), 2) << name_of(format) << offset;
      }
}

// Quants may have any pattern: 0x7c7c in them is no infinity.
TEST(FirstNonFinite, IgnoresQuants) {
  Bytes stored(34, std::byte{0x7c});
  stored[1] = std::byte{0x3c};
  EXPECT_EQ(first_non_finite_row(NumberFormat::q8_0, 1, 32, stored.data()), -1);
}

// Every place of a run that is neither a whole number of vectors nor of words, and begins anywhere; what lies
// beside the run does not count.
TEST(FirstNonFinite, EveryPlaceOfAnyRun) {
  for (const std::int64_t columns : {1, 2, 3, 31, 67, 131})
    for (const std::size_t shift : {0, 1, 2, 7}) {
      Bytes stored(shift + static_cast<std::size_t>(columns) * 2 + 16, std::byte{0xff});
      std::byte* row = stored.data() + shift;
      const std::uint16_t fine = 0xff7f, infinite = 0x7f80;  // the largest negative number, and infinity
      for (std::int64_t k = 0; k < columns; ++k) std::memcpy(row + 2 * k, &fine, 2);
      EXPECT_EQ(first_non_finite_row(NumberFormat::bf16, 1, columns, row), -1) << columns << ' ' << shift;
      for (std::int64_t k = 0; k < columns; ++k) {
        std::memcpy(row + 2 * k, &infinite, 2);
        EXPECT_EQ(first_non_finite_row(NumberFormat::bf16, 1, columns, row), 0) << columns << ' ' << k;
        EXPECT_EQ(first_non_finite_row(NumberFormat::bf16, columns, 1, row), k) << columns << ' ' << shift;
        std::memcpy(row + 2 * k, &fine, 2);
      }
    }
}

// Neighbours must not carry into one another: all numbers as large as they can be.
TEST(FirstNonFinite, LargestNumbersAreFinite) {
  const std::uint64_t f32 = 0xff7fffff7f7fffffu, bf16 = 0xff7f7f7fff7f7f7fu, f16 = 0xfbff7bfffbff7bffu;
  EXPECT_FALSE(kF32Test.failed(kF32Test.of(f32)));
  EXPECT_FALSE(kBf16Test.failed(kBf16Test.of(bf16)));
  EXPECT_FALSE(kF16Test.failed(kF16Test.of(f16)));
  EXPECT_TRUE(kF32Test.failed(kF32Test.of(f32 | 0x00800000u)));
  EXPECT_TRUE(kBf16Test.failed(kBf16Test.of(bf16 | 0x00800000u)));
  EXPECT_TRUE(kF16Test.failed(kF16Test.of(f16 | (std::uint64_t{0x0400} << 48))));
}

TEST(DequantizePackedRow, SameBitsAsTheStoredRow) {
  for (const NumberFormat format : kAllFormats)
    for (const std::int64_t columns : {32, 96, 37}) {
      if (is_block_format(format) && columns % 32 != 0) continue;
      const TestMatrix matrix(format, 70, columns, 9);
      std::vector<float> row(static_cast<std::size_t>(columns));
      for (std::int64_t r = 0; r < 70; ++r) {
        dequantize_packed_row(matrix.view, r, row.data());
        EXPECT_EQ(std::memcmp(row.data(), matrix.values.data() + r * columns, row.size() * 4), 0)
            << name_of(format) << ' ' << columns << ' ' << r;
      }
      EXPECT_THROW(dequantize_packed_row(matrix.view, 70, row.data()), Error);
    }
}

}  // namespace
}  // namespace stagformer::internal
