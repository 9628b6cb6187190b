#include <gtest/gtest.h>

#include <cstring>

#include "kernel_data.hpp"
#include "kernels/number_bits.hpp"

namespace stagformer::internal {
namespace {

// The documented layout, read value by value.
float packed_value(const PackedMatrix& m, std::int64_t row, std::int64_t k) {
  const std::byte* panel = m.data + row / 32 * packed_panel_bytes(m.format, m.columns);
  const std::int64_t r = row % 32, in_block = k % 32;
  const auto half = [&](std::int64_t offset) {
    std::uint16_t bits;
    std::memcpy(&bits, panel + offset, 2);
    return bits;
  };
  if (m.format == NumberFormat::f32) {
    float value;
    std::memcpy(&value, panel + k * 128 + r * 4, 4);
    return value;
  }
  if (m.format == NumberFormat::bf16) return float_from_bf16(half(k / 2 * 128 + r * 4 + k % 2 * 2));
  const bool minima = m.format == NumberFormat::q4_1, bytes = m.format == NumberFormat::q8_0;
  const std::int64_t header = minima ? 128 : 64;
  const std::int64_t unit = k / 32 * (header + (bytes ? 8 : 4) * 128);
  const float scale = float_from_f16(half(unit + r * 2));
  const std::int64_t place = bytes ? in_block : in_block % 16;
  const int byte = std::to_integer<int>(panel[unit + header + place / 4 * 128 + r * 4 + place % 4]);
  if (bytes) return scale * static_cast<float>(byte - 128);
  const int q = in_block < 16 ? byte & 15 : byte >> 4;
  if (!minima) return scale * static_cast<float>(q - 8);
  return scale * static_cast<float>(q) + float_from_f16(half(unit + 64 + r * 2));
}

TEST(PackedMatrix, LayoutIsAsDocumented) {
  for (const NumberFormat format : kAllFormats)
    for (const std::int64_t rows : {1, 32, 75})
      for (const std::int64_t columns : {1, 31, 32, 96, 131}) {
        if (is_block_format(format) && columns % 32 != 0) continue;
        const TestMatrix matrix(format, rows, columns, 11);
        for (std::int64_t r = 0; r < rows; ++r)
          for (std::int64_t k = 0; k < columns; ++k)
            ASSERT_EQ(packed_value(matrix.view, r, k),
                      matrix.values[static_cast<std::size_t>(r * columns + k)])
                << name_of(format) << ' ' << rows << 'x' << columns << " at " << r << ',' << k;
      }
}

TEST(PackedMatrix, RowsBeyondTheLastAreZero) {
  for (const NumberFormat format : kAllFormats) {
    const TestMatrix matrix(format, 43, 64, 12);
    for (std::int64_t r = 43; r < 64; ++r)
      for (std::int64_t k = 0; k < 64; ++k) ASSERT_EQ(packed_value(matrix.view, r, k), 0) << name_of(format);
  }
}

TEST(PackedMatrix, PanelsPackedApartAreTheSame) {
  for (const NumberFormat format : kAllFormats) {
    const TestMatrix whole(format, 140, 96, 13);
    AlignedBuffer<std::byte> parts(whole.packed.size());
    std::memset(parts.data(), 0xee, parts.size());
    for (const auto& [begin, end] : {std::pair{3, 5}, std::pair{0, 1}, std::pair{1, 3}})
      pack_panels(format, 140, 96, whole.stored.data(), begin, end, parts.data());
    EXPECT_EQ(std::memcmp(parts.data(), whole.packed.data(), parts.size()), 0) << name_of(format);
  }
}

TEST(PackedMatrix, Sizes) {
  EXPECT_EQ(packed_panel_bytes(NumberFormat::f32, 3), 384);
  EXPECT_EQ(packed_panel_bytes(NumberFormat::bf16, 3), 256);
  EXPECT_EQ(packed_bytes(NumberFormat::q4_0, 33, 96), 2 * 32 * stored_row_bytes(NumberFormat::q4_0, 96));
  for (const NumberFormat format : kAllFormats) {
    EXPECT_EQ(packed_panel_bytes(format, 96), 32 * stored_row_bytes(format, 96)) << name_of(format);
    EXPECT_EQ(packed_panel_bytes(format, 96) % 64, 0) << name_of(format);
  }
}

TEST(PackedMatrix, OddBf16ColumnsLeaveTheOtherHalfZero) {
  const TestMatrix matrix(NumberFormat::bf16, 64, 33, 14);
  for (std::int64_t row = 0; row < 64; ++row) {
    std::uint16_t beyond = 1;
    std::memcpy(&beyond, matrix.packed.data() + row / 32 * 17 * 128 + 16 * 128 + row % 32 * 4 + 2, 2);
    EXPECT_EQ(beyond, 0) << row;
  }
}

}  // namespace
}  // namespace stagformer::internal
