// Frequencies of the rotary positions, worked out by hand.
#include "model/rope_table.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

namespace stagformer::internal {
namespace {

ModelConfig config_with(std::int64_t head_dim, double theta) {
  ModelConfig config;
  config.head_dim = head_dim;
  config.rope_theta = theta;
  return config;
}

TEST(RopeTable, FrequenciesFallGeometrically) {
  const auto frequencies = rope_frequencies(config_with(8, 10000));
  ASSERT_EQ(frequencies.size(), 4U);
  EXPECT_DOUBLE_EQ(frequencies[0], 1);
  EXPECT_DOUBLE_EQ(frequencies[1], 0.1);
  EXPECT_NEAR(frequencies[2], 0.01, 1e-15);
  EXPECT_NEAR(frequencies[3], 0.001, 1e-15);
}

TEST(RopeTable, PositionZeroTurnsNothingAndPositionOneByTheFrequency) {
  const RopeTable table(config_with(4, 100), 3);
  EXPECT_EQ(table.cos(0)[0], 1);
  EXPECT_EQ(table.sin(0)[1], 0);
  EXPECT_FLOAT_EQ(table.cos(1)[0], static_cast<float>(std::cos(1.0)));
  EXPECT_FLOAT_EQ(table.sin(2)[1], static_cast<float>(std::sin(0.2)));
}

TEST(RopeTable, LinearScalingDividesEveryFrequency) {
  ModelConfig config = config_with(8, 10000);
  config.rope_scaling = RopeScaling{RopeScaling::Type::linear, 4, 1, 4, 0};
  EXPECT_DOUBLE_EQ(rope_frequencies(config)[1], 0.025);
}

/// Llama 3: short waves stay, long ones are slowed by the factor, those between are blended.
TEST(RopeTable, Llama3ScalingTouchesLongWavesOnly) {
  ModelConfig config = config_with(8, 10000);
  config.rope_scaling = RopeScaling{RopeScaling::Type::llama3, 8, 1, 4, 64};
  const auto frequencies = rope_frequencies(config);
  EXPECT_DOUBLE_EQ(frequencies[0], 1);                                // wavelength 6.3 < 64 / 4
  EXPECT_NEAR(frequencies[2], 0.01 / 8, 1e-15);                       // wavelength 628 > 64 / 1
  const double smooth = (64 * 0.1 / (2 * std::numbers::pi) - 1) / 3;  // wavelength 62.8: between
  EXPECT_NEAR(frequencies[1], (1 - smooth) * 0.1 / 8 + smooth * 0.1, 1e-15);
}

}  // namespace
}  // namespace stagformer::internal
