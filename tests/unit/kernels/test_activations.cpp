#include <gtest/gtest.h>

#include "int8_reference.hpp"
#include "kernel_compare.hpp"
#include "kernels/activation_row.hpp"

namespace stagformer::internal {
namespace {

std::vector<ActivationBlock> quantized(const std::vector<float>& x,
                                       const std::vector<std::int64_t>& cuts = {}) {
  const auto columns = static_cast<std::int64_t>(x.size());
  AlignedBuffer<std::byte> row(static_cast<std::size_t>(quantized_row_bytes(columns)));
  std::int64_t begin = 0;
  for (const std::int64_t cut : cuts) {
    quantize_activations(x.data(), begin, cut, columns, row.data());
    begin = cut;
  }
  quantize_activations(x.data(), begin, columns / 32, columns, row.data());
  std::vector<ActivationBlock> blocks(x.size() / 32);
  std::memcpy(static_cast<void*>(blocks.data()), row.data(), blocks.size() * sizeof(ActivationBlock));
  return blocks;
}

void expect_reference(const std::vector<float>& x) {
  const std::vector<ActivationBlock> blocks = quantized(x);
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const ReferenceActivations reference(x.data() + b * 32);
    EXPECT_EQ(blocks[b].scale, reference.scale) << b;
    for (int i = 0; i < 32; ++i) ASSERT_EQ(blocks[b].quants[i], reference.quants[i]) << b << ' ' << i;
    EXPECT_EQ(blocks[b].minus_8_sums, -8 * reference.sum) << b;
    EXPECT_EQ(blocks[b].minus_128_sums, -128 * reference.sum) << b;
    EXPECT_EQ(blocks[b].scaled_sum, reference.scale * static_cast<float>(reference.sum)) << b;
  }
}

TEST(Activations, AreRoundedAsThePlainLoop) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const float spread : {1.0f, 1e-20f, 3e18f, 1e30f}) expect_reference(random_values(640, 5, spread));
  }
}

// With a largest value of 127 the quants are the values: halves go to the even side.
TEST(Activations, HalvesGoToEven) {
  std::vector<float> x(32, 0);
  x[0] = 127;
  for (int i = 1; i < 32; ++i) x[static_cast<std::size_t>(i)] = static_cast<float>(i - 16) + 0.5f;
  const auto blocks = quantized(x);
  EXPECT_EQ(blocks[0].scale, 1);
  for (int i = 1; i < 32; ++i)
    EXPECT_EQ(blocks[0].quants[i], static_cast<int>(std::nearbyint(x[static_cast<std::size_t>(i)]))) << i;
  EXPECT_EQ(blocks[0].quants[18], 2);  // 2.5
  EXPECT_EQ(blocks[0].quants[15], 0);  // -0.5
}

TEST(Activations, LargestIsAlways127) {
  std::mt19937 generator(3);
  std::uniform_real_distribution<float> any(0x1p-99f, 0x1p+100f);
  for (int i = 0; i < 2000; ++i) {
    std::vector<float> x(32, 0);
    x[static_cast<std::size_t>(i % 32)] = any(generator) * (i % 2 == 0 ? 1.0f : -1.0f);
    EXPECT_EQ(quantized(x)[0].quants[i % 32], i % 2 == 0 ? 127 : -127);
  }
}

TEST(Activations, NothingAndNextToNothingIsZero) {
  for (const float value : {0.0f, -0.0f, 1e-45f, 0x1p-101f}) {
    const auto blocks = quantized(std::vector<float>(64, value));
    EXPECT_EQ(blocks[1].scale, 0);
    EXPECT_EQ(blocks[1].quants[7], 0);
    EXPECT_EQ(blocks[1].minus_128_sums, 0);
  }
}

TEST(Activations, NotFiniteMarksItsBlockAlone) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const float bad : {std::nanf(""), -std::nanf(""), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity()})
      for (std::size_t at = 32; at < 64; ++at) {
        std::vector<float> x = random_values(96, 7);
        x[at] = bad;
        const auto blocks = quantized(x);
        EXPECT_TRUE(std::isnan(blocks[1].scale)) << at;
        EXPECT_TRUE(std::isfinite(blocks[0].scale) && std::isfinite(blocks[2].scale)) << at;
      }
  }
}

TEST(Activations, ThreadsMayShareARow) {
  const std::vector<float> x = random_values(320, 8);
  const auto whole = quantized(x), parts = quantized(x, {1, 2, 7});
  EXPECT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(ActivationBlock)), 0);
  EXPECT_EQ(quantized_row_bytes(320) % 64, 0);
  EXPECT_GE(quantized_row_bytes(320), static_cast<std::int64_t>(whole.size() * sizeof(ActivationBlock)));
}

}  // namespace
}  // namespace stagformer::internal
