#include <gtest/gtest.h>

#include "kernel_compare.hpp"

namespace stagformer::internal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::vector<float> activated(Activation activation, std::vector<float> gate, const std::vector<float>& up) {
  gated_activation(activation, gate.data(), up.data(), static_cast<std::int64_t>(gate.size()));
  return gate;
}

double silu(double x) {
  return x / (1 + std::exp(-x));
}
double gelu_tanh(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

// From far left, where results are subnormal, through zero to far right.
std::vector<float> sweep() {
  std::vector<float> x;
  for (float value = -100; value < 100; value += 0.0137f) x.push_back(value);
  for (float value = 1e-30f; value < 1; value *= 1.7f) x.insert(x.end(), {value, -value});
  return x;
}

// `magnified(x)`: roundings of the exponent's argument, which exp multiplies by the argument's size.
template <typename Reference, typename Magnified>
void expect_activation(Activation activation, Reference reference, Magnified magnified) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    const std::vector<float> x = sweep(), out = activated(activation, x, std::vector<float>(x.size(), 1.0f));
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double expected = reference(static_cast<double>(x[i]));
      const double roundings = 5 + magnified(static_cast<double>(x[i]));
      const double allowed = roundings * kEpsilon * std::fabs(expected) + 1.3e-36;  // below -88.7 zero
      ASSERT_NEAR(static_cast<double>(out[i]), expected, allowed) << x[i] << " level " << level;
    }
  }
}

// Far left silu(x) is x exp(x): this is the test of exp over its whole range, too.
TEST(GatedActivation, Silu) {
  expect_activation(Activation::silu, silu, [](double) { return 0.0; });
}

TEST(GatedActivation, GeluTanh) {
  const auto sigmoid_form = [](double x) {  // without the cancellation of 1 + tanh
    return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  };
  EXPECT_NEAR(sigmoid_form(-1.7), gelu_tanh(-1.7), 1e-15);
  EXPECT_NEAR(sigmoid_form(2.3), gelu_tanh(2.3), 1e-15);
  expect_activation(Activation::gelu_tanh, sigmoid_form,
                    [](double x) { return x < 0 ? 4 * std::fabs(1.6 * x * (1 + 0.045 * x * x)) : 0.0; });
}

TEST(GatedActivation, MultipliesByUp) {
  const std::vector<float> gate = random_values(37, 1), up = random_values(37, 2);
  const std::vector<float> plain = activated(Activation::silu, gate, std::vector<float>(37, 1.0f));
  const std::vector<float> gated = activated(Activation::silu, gate, up);
  for (std::size_t i = 0; i < 37; ++i) EXPECT_EQ(gated[i], plain[i] * up[i]);
}

TEST(GatedActivation, ExtremesAreRight) {
  const std::vector<float> x = {1e30f, -1e30f, kInfinity, 0.0f, std::nanf(""), 88.9f, -88.9f, -200.0f};
  for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
    const std::vector<float> out = activated(activation, x, std::vector<float>(x.size(), 1.0f));
    EXPECT_EQ(out[0], 1e30f);
    EXPECT_EQ(out[1], 0.0f);
    EXPECT_EQ(out[2], kInfinity);
    EXPECT_EQ(out[3], 0.0f);
    EXPECT_TRUE(std::isnan(out[4]));
    EXPECT_EQ(out[5], 88.9f);
    EXPECT_NEAR(out[6], 0.0f, 1e-35f);
    EXPECT_EQ(out[7], 0.0f);
  }
}

TEST(Rope, RotatesTheHalvesOfEveryHead) {
  for (const std::int64_t head_dim : {2, 6, 32, 34, 64, 80, 128}) {
    const std::int64_t heads = 3, half = head_dim / 2;
    const std::vector<float> x = random_values(heads * head_dim, 1);
    std::vector<float> angle = random_values(half, 2, 10), cosine, sine;
    for (const float a : angle) cosine.push_back(std::cos(a)), sine.push_back(std::sin(a));
    std::vector<float> out = x;
    rope(out.data(), heads, head_dim, cosine.data(), sine.data());
    for (std::int64_t h = 0; h < heads; ++h)
      for (std::int64_t i = 0; i < half; ++i) {
        const auto a = static_cast<std::size_t>(h * head_dim + i), b = a + static_cast<std::size_t>(half);
        const double c = static_cast<double>(cosine[static_cast<std::size_t>(i)]);
        const double s = static_cast<double>(sine[static_cast<std::size_t>(i)]);
        const double first = static_cast<double>(x[a]), second = static_cast<double>(x[b]);
        const double allowed = 2 * kEpsilon * (std::fabs(first) + std::fabs(second));
        EXPECT_NEAR(static_cast<double>(out[a]), first * c - second * s, allowed);
        EXPECT_NEAR(static_cast<double>(out[b]), second * c + first * s, allowed);
      }
  }
}

TEST(Rope, QuarterTurn) {
  std::vector<float> x = {1, 2, 3, 4};
  const float cosine[] = {0, 1}, sine[] = {1, 0};
  rope(x.data(), 1, 4, cosine, sine);
  EXPECT_EQ(x, (std::vector<float>{-3, 2, 1, 4}));
}

TEST(AddAndScale, EveryElementAndNoMore) {
  for (const std::size_t n : {1u, 15u, 16u, 17u, 100u}) {
    std::vector<float> x = random_values(static_cast<std::int64_t>(n) + 1, 1), before = x;
    const std::vector<float> y = random_values(static_cast<std::int64_t>(n), 2);
    add(x.data(), y.data(), static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(x[i], before[i] + y[i]);
    EXPECT_EQ(x[n], before[n]);
    x = before;
    scale(x.data(), 1.7f, static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(x[i], before[i] * 1.7f);
    EXPECT_EQ(x[n], before[n]);
  }
}

TEST(Elementwise, EveryInstructionSetWithFmaGivesTheSameBits) {
  if (best_instruction_set() < 2) GTEST_SKIP() << "one vector width only";
  for (const Activation activation : {Activation::silu, Activation::gelu_tanh}) {
    const std::vector<float> x = sweep(), up = random_values(static_cast<std::int64_t>(x.size()), 3);
    const std::vector<float> wide = activated(activation, x, up);
    const InstructionSetGuard guard(1);
    EXPECT_TRUE(same_bits(wide, activated(activation, x, up)));
  }
}

}  // namespace
}  // namespace stagformer::internal
