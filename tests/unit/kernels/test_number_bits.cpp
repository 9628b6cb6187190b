#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/number_bits.hpp"

namespace stagformer::internal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(Bf16, RoundsToNearestEven) {
  EXPECT_EQ(bf16_from_float(1.0f), 0x3f80);
  EXPECT_EQ(bf16_from_float(0x1.01p0f), 0x3f80);      // half way, 0x3f80 is even
  EXPECT_EQ(bf16_from_float(0x1.03p0f), 0x3f82);      // half way, up to even
  EXPECT_EQ(bf16_from_float(0x1.010002p0f), 0x3f81);  // just above half way
  EXPECT_EQ(bf16_from_float(-0x1.010002p0f), 0xbf81);
  EXPECT_EQ(bf16_from_float(-0.0f), 0x8000);
  EXPECT_EQ(bf16_from_float(std::numeric_limits<float>::max()), 0x7f80);  // rounds up to infinity
}

TEST(Bf16, EveryPatternComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = float_from_bf16(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(bf16_is_finite(static_cast<std::uint16_t>(bits)), std::isfinite(value)) << bits;
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(float_from_bf16(bf16_from_float(value)))) << bits;
    else
      EXPECT_EQ(bf16_from_float(value), bits);
  }
}

TEST(F16, KnownValues) {
  EXPECT_EQ(float_from_f16(0x3c00), 1.0f);
  EXPECT_EQ(float_from_f16(0xc000), -2.0f);
  EXPECT_EQ(float_from_f16(0x7bff), 65504.0f);
  EXPECT_EQ(float_from_f16(0x0001), 0x1p-24f);
  EXPECT_EQ(float_from_f16(0x83ff), -0x1.ff8p-15f);
  EXPECT_EQ(float_from_f16(0x0400), 0x1p-14f);
  EXPECT_EQ(float_from_f16(0xfc00), -kInfinity);
}

TEST(F16, EveryPatternComesBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = float_from_f16(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(f16_is_finite(static_cast<std::uint16_t>(bits)), std::isfinite(value)) << bits;
    if (std::isnan(value))
      EXPECT_TRUE(std::isnan(float_from_f16(f16_from_float(value)))) << bits;
    else
      EXPECT_EQ(f16_from_float(value), bits);
  }
}

// Between every two neighbours: the middle goes to the even one, a hair beside it to the nearer one.
TEST(F16, RoundsToNearestEven) {
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const auto low = static_cast<std::uint16_t>(bits), high = static_cast<std::uint16_t>(bits + 1);
    const float middle = (float_from_f16(low) + float_from_f16(high)) / 2;
    EXPECT_EQ(f16_from_float(middle), bits % 2 == 0 ? low : high) << bits;
    EXPECT_EQ(f16_from_float(std::nextafter(middle, 0.0f)), low) << bits;
    EXPECT_EQ(f16_from_float(std::nextafter(middle, 1e9f)), high) << bits;
  }
  EXPECT_EQ(f16_from_float(65519.996f), 0x7bff);
  EXPECT_EQ(f16_from_float(65520.0f), 0x7c00);
  EXPECT_EQ(f16_from_float(-kInfinity), 0xfc00);
}

}  // namespace
}  // namespace stagformer::internal
