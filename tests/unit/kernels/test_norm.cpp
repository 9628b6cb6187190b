#include <gtest/gtest.h>

#include "kernel_compare.hpp"

namespace stagformer::internal {
namespace {

std::vector<float> normed(const std::vector<float>& x, const std::vector<float>& weight, float eps) {
  std::vector<float> out(x.size());
  rms_norm(x.data(), weight.data(), static_cast<std::int64_t>(x.size()), eps, out.data());
  return out;
}

double worst_relative_error(const std::vector<float>& x, const std::vector<float>& weight, float eps) {
  double squares = 0;
  for (const float value : x) squares += static_cast<double>(value) * static_cast<double>(value);
  const double factor = 1 / std::sqrt(squares / static_cast<double>(x.size()) + static_cast<double>(eps));
  const std::vector<float> out = normed(x, weight, eps);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = static_cast<double>(x[i]) * factor * static_cast<double>(weight[i]);
    worst = std::max(worst, std::fabs(static_cast<double>(out[i]) - expected) / std::fabs(expected));
  }
  return worst;
}

// Three roundings an element, whatever the length: the sum itself is exact enough.
TEST(RmsNorm, IsAccurateAtEveryLength) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const std::int64_t n : {1, 2, 7, 15, 16, 17, 31, 100, 576, 2049, 65536})
      for (const float spread : {1e-3f, 1.0f, 1e4f, 1e18f})
        EXPECT_LE(worst_relative_error(random_values(n, 1, spread), random_values(n, 2), 1e-5f),
                  3.1 * kEpsilon)
            << n << ' ' << spread;
  }
}

TEST(RmsNorm, EpsilonCounts) {
  const std::vector<float> x(64, 0.003f), weight(64, 1.0f);  // mean square 9e-6
  EXPECT_NEAR(normed(x, weight, 7e-6f)[0], 0.75f, 1e-6f);
  EXPECT_NEAR(normed(x, weight, 0.0f)[0], 1.0f, 1e-6f);
  EXPECT_EQ(normed(std::vector<float>(64, 0.0f), weight, 1e-5f)[63], 0.0f);
}

TEST(RmsNorm, EveryElementCounts) {
  for (const std::size_t n : {1u, 15u, 16u, 33u})
    for (std::size_t hot = 0; hot < n; ++hot) {
      std::vector<float> x(n, 0.0f);
      x[hot] = 5;
      EXPECT_NEAR(normed(x, std::vector<float>(n, 2.0f), 0)[hot], 2 * std::sqrt(static_cast<float>(n)),
                  1e-5f);
    }
}

TEST(RmsNorm, InPlace) {
  std::vector<float> x = random_values(577, 1);
  const std::vector<float> weight = random_values(577, 2), apart = normed(x, weight, 1e-5f);
  rms_norm(x.data(), weight.data(), 577, 1e-5f, x.data());
  EXPECT_TRUE(same_bits(x, apart));
}

TEST(RmsNorm, Avx2AndAvx512GiveTheSameBits) {
  if (best_instruction_set() < 2) GTEST_SKIP() << "one vector width only";
  for (const std::int64_t n : {1, 17, 576, 1000}) {
    const std::vector<float> x = random_values(n, 1), weight = random_values(n, 2),
                             wide = normed(x, weight, 1e-5f);
    const InstructionSetGuard guard(1);
    EXPECT_TRUE(same_bits(wide, normed(x, weight, 1e-5f))) << n;
  }
}

}  // namespace
}  // namespace stagformer::internal
