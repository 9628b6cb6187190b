#include <gtest/gtest.h>

#include "kernel_compare.hpp"

namespace stagformer::internal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

const std::int64_t kLengths[] = {1, 2, 15, 16, 17, 100, 1023, 1024};

TEST(BlockSum, AgreesWithDouble) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const std::int64_t n : kLengths)
      for (const float inverse_temperature : {0.0f, 0.5f, 1.0f, 3.0f}) {
        const std::vector<float> logits = random_values(n, 1, 4);
        const float most = *std::max_element(logits.begin(), logits.end());
        double sum = 0;
        for (const float logit : logits)
          sum += std::exp((static_cast<double>(logit) - static_cast<double>(most)) *
                          static_cast<double>(inverse_temperature));
        const BlockSum block = block_sum(logits.data(), n, inverse_temperature);
        EXPECT_EQ(block.max, most);
        EXPECT_NEAR(static_cast<double>(block.sum), sum, 30 * kEpsilon * sum)
            << n << ' ' << inverse_temperature;
      }
  }
}

TEST(BlockSum, EqualLogitsCountExactly) {
  for (const std::int64_t n : kLengths)
    EXPECT_EQ(block_sum(std::vector<float>(static_cast<std::size_t>(n), -7.5f).data(), n, 2).sum,
              static_cast<float>(n));
}

TEST(BlockSum, NaNStaysVisible) {
  std::vector<float> logits = random_values(100, 1);
  logits[37] = std::nanf("");
  EXPECT_TRUE(std::isnan(block_sum(logits.data(), 100, 1).sum));
}

TEST(BlockSum, Avx2AndAvx512GiveTheSameBits) {
  if (best_instruction_set() < 2) GTEST_SKIP() << "one vector width only";
  for (const std::int64_t n : kLengths) {
    const std::vector<float> logits = random_values(n, 1, 4);
    const BlockSum wide = block_sum(logits.data(), n, 0.7f);
    const InstructionSetGuard guard(1);
    const BlockSum narrow = block_sum(logits.data(), n, 0.7f);
    EXPECT_EQ(wide.max, narrow.max);
    EXPECT_EQ(wide.sum, narrow.sum) << n;
  }
}

TEST(Argmax, FindsEveryPlaceAndTheLowestOfEquals) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const std::int64_t n : {1, 5, 16, 33, 100})
      for (std::int64_t at = 0; at < n; ++at) {
        std::vector<float> values(static_cast<std::size_t>(n), -3.0f);
        values[static_cast<std::size_t>(at)] = -2;
        EXPECT_EQ(argmax(values.data(), n), at);
        for (std::int64_t other = at; other < n; other += 7) values[static_cast<std::size_t>(other)] = -2;
        EXPECT_EQ(argmax(values.data(), n), at);
      }
  }
}

TEST(Argmax, PassesOverNaN) {
  const std::vector<float> values = {std::nanf(""), 1, std::nanf(""), 3, 2};
  EXPECT_EQ(argmax(values.data(), 5), 3);
  const std::vector<float> none(20, std::nanf(""));
  EXPECT_EQ(argmax(none.data(), 20), 0);
  const std::vector<float> low(20, -kInfinity);
  EXPECT_EQ(argmax(low.data(), 20), 0);
}

TEST(AllFinite, SeesEveryPlace) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const std::int64_t n : {1, 15, 16, 33})
      for (std::int64_t at = 0; at < n; ++at)
        for (const float bad : {kInfinity, -kInfinity, std::nanf("")}) {
          std::vector<float> values(static_cast<std::size_t>(n), std::numeric_limits<float>::max());
          EXPECT_TRUE(all_finite(values.data(), n));
          values[static_cast<std::size_t>(at)] = bad;
          EXPECT_FALSE(all_finite(values.data(), n)) << n << ' ' << at;
        }
  }
}

}  // namespace
}  // namespace stagformer::internal
