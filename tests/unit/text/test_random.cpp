#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "text/deterministic_math.hpp"
#include "text/random.hpp"

namespace stagformer::internal {
namespace {

using Words = std::array<std::uint32_t, 4>;

// Published test vectors of the generator.
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t f = 0xffffffff;
  EXPECT_EQ(philox({f, f, f, f}, {f, f}), (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(UniformSource, ChunksGiveTheSameBitsAsSingleDraws) {
  const UniformSource source({7, 3, 1000});
  for (const std::int32_t first : {0, 2, 16, 4096, 2147483632}) {
    const UniformChunk chunk = source.chunk(first);
    std::uint32_t largest = 0;
    for (int i = 0; i < UniformChunk::kSize; ++i) {
      const double u = chunk.uniform(i);
      EXPECT_EQ(u, source.uniform(first + i)) << first << ' ' << i;
      EXPECT_GE(u, chunk.upper(i) * 0x1p-32);
      EXPECT_LT(u, (chunk.upper(i) + 1.0) * 0x1p-32);
      largest = std::max(largest, chunk.upper(i));
    }
    EXPECT_TRUE(chunk.any_from(largest));
    EXPECT_FALSE(chunk.any_from(largest + 1));
  }
}

TEST(UniformSource, EveryPartOfTheKeyMatters) {
  const SamplingKey base{1, 2, 3};
  const std::uint64_t high = std::uint64_t{1} << 40;
  const SamplingKey others[] = {{2, 2, 3},        {1, 3, 3},        {1, 2, 4}, {1 + high, 2, 3},
                                {1, 2 + high, 3}, {1, 2, 3 + high}, {1, 3, 2}};
  for (const SamplingKey& other : others) EXPECT_NE(gumbel(base, 5), gumbel(other, 5));
  EXPECT_NE(gumbel(base, 4), gumbel(base, 5));
}

TEST(UniformSource, IsUniformAndNeighboursAreIndependent) {
  const UniformSource source({11, 0, 0});
  constexpr int kDraws = 200000;
  double sum = 0, squares = 0, products = 0, previous = 0.5;
  for (int i = 0; i < kDraws; ++i) {
    const double u = source.uniform(i);
    ASSERT_GT(u, 0);
    ASSERT_LT(u, 1);
    sum += u;
    squares += u * u;
    products += (u - 0.5) * (previous - 0.5);
    previous = u;
  }
  EXPECT_NEAR(sum / kDraws, 0.5, 5 * std::sqrt(1.0 / 12 / kDraws));
  EXPECT_NEAR(squares / kDraws, 1.0 / 3, 5 * std::sqrt(4.0 / 45 / kDraws));
  EXPECT_NEAR(products / kDraws, 0, 5.0 / 12 / std::sqrt(kDraws));
}

TEST(Gumbel, HasMeanAndVarianceOfTheStandardDistribution) {
  constexpr int kDraws = 200000;
  double sum = 0, squares = 0;
  for (int i = 0; i < kDraws; ++i) {
    const double g = gumbel({5, 9, static_cast<std::uint64_t>(i)}, 77);
    sum += g;
    squares += g * g;
  }
  const double variance = M_PI * M_PI / 6, mean = 0.57721566490153286;
  EXPECT_NEAR(sum / kDraws, mean, 5 * std::sqrt(variance / kDraws));
  EXPECT_NEAR(squares / kDraws - mean * mean, variance, 0.06);
}

TEST(Gumbel, ExtremesAreFinite) {
  EXPECT_NEAR(gumbel_from_uniform(0x1p-53), -std::log(53 * M_LN2), 1e-14);
  EXPECT_NEAR(gumbel_from_uniform(1 - 0x1p-53), 53 * M_LN2, 1e-13);
}

// A change of these bits changes the tokens of every user: it must be meant.
TEST(Gumbel, BitsArePinned) {
  EXPECT_EQ(std::bit_cast<std::uint64_t>(gumbel({0, 0, 0}, 0)), 0x3ff782dedf9594daULL);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(gumbel({1, 2, 3}, 50256)), 0x3fe6180766303c8dULL);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(deterministic_exp(-1)), 0x3fd78b56362cef38ULL);
  EXPECT_EQ(std::bit_cast<std::uint64_t>(deterministic_log(3)), 0x3ff193ea7aad030bULL);
}

double ulps(double found, double expected) {
  return std::abs(found - expected) / (std::nextafter(std::abs(expected), INFINITY) - std::abs(expected));
}

TEST(DeterministicMath, ExpIsWithinTwoUlp) {
  for (int i = 0; i < 400000; ++i) {
    const double x = -700 + i * 0.0035017;
    ASSERT_LT(ulps(deterministic_exp(x), std::exp(x)), 2.5) << x;
  }
  EXPECT_EQ(deterministic_exp(0), 1);
  EXPECT_EQ(deterministic_exp(-800), 0);
  EXPECT_EQ(deterministic_exp(-INFINITY), 0);
}

TEST(DeterministicMath, LogIsWithinTwoUlp) {
  for (int i = 0; i < 400000; ++i) {
    const double x = std::exp(-36 + i * 0.00018);
    ASSERT_LT(ulps(deterministic_log(x), std::log(x)), 2.5) << x;
  }
  for (int i = 1; i < 2000; ++i)
    ASSERT_LT(ulps(deterministic_log(1 - i * 0x1p-53), std::log1p(-i * 0x1p-53)), 2.5);
  EXPECT_EQ(deterministic_log(1), 0);
}

}  // namespace
}  // namespace stagformer::internal
