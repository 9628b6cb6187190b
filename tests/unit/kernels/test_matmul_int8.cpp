#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <thread>

#include "int8_reference.hpp"
#include "kernel_compare.hpp"
#include "kernels/fused.hpp"

namespace stagformer::internal {
namespace {

constexpr float kUntouched = -12345;
constexpr NumberFormat kBlockFormats[] = {NumberFormat::q8_0, NumberFormat::q4_0, NumberFormat::q4_1};

struct Case {
  std::int64_t rows, columns, batch;
};

// One panel and several; one piece of a panel and several; batches on both sides of every tile border.
const Case kCases[] = {{1, 32, 1},  {32, 64, 2},   {37, 96, 3},  {100, 160, 4},  {64, 1536, 5}, {33, 320, 6},
                       {65, 96, 7}, {70, 1600, 8}, {16, 32, 12}, {130, 576, 13}, {31, 2080, 37}};

/// Quants of all values a byte can have, scales and minima of both signs.
TestMatrix random_blocks(NumberFormat format, std::int64_t rows, std::int64_t columns, unsigned seed) {
  TestMatrix w(format, rows, columns, seed);
  std::mt19937 generator(seed);
  const std::size_t block_bytes = static_cast<std::size_t>(stored_row_bytes(format, 32));
  const std::size_t header = format == NumberFormat::q4_1 ? 4 : 2;
  for (std::size_t at = 0; at < w.stored.size(); ++at) {
    if (at % block_bytes >= header) w.stored[at] = static_cast<std::byte>(generator());
    if (at % block_bytes == 1) w.stored[at] ^= static_cast<std::byte>(generator() & 0x80);
  }
  pack_panels(format, rows, columns, w.stored.data(), 0, w.view.panels(), w.packed.data());
  return w;
}

struct QuantizedRows {
  AlignedBuffer<std::byte> bytes;
  std::int64_t stride;

  QuantizedRows(const std::vector<float>& x, std::int64_t columns, std::int64_t batch)
      : bytes(static_cast<std::size_t>(batch * quantized_row_bytes(columns))),
        stride(quantized_row_bytes(columns)) {
    for (std::int64_t b = 0; b < batch; ++b)
      quantize_activations(x.data() + b * columns, 0, columns / 32, columns, bytes.data() + b * stride);
  }
  Activations view() const { return {nullptr, 0, bytes.data(), stride}; }
};

std::vector<float> product(const PackedMatrix& w, const std::vector<float>& x, std::int64_t batch,
                           std::int64_t cut = 0) {
  const std::int64_t stride = w.panels() * kPanelRows + 5;
  const QuantizedRows rows(x, w.columns, batch);
  std::vector<float> y(static_cast<std::size_t>(batch * stride), kUntouched);
  matmul(w, rows.view(), batch, y.data(), stride, 0, cut);
  matmul(w, rows.view(), batch, y.data(), stride, cut, w.panels());
  return y;
}

template <typename Check>
void for_all_cases(Check&& check) {
  for (const NumberFormat format : kBlockFormats)
    for (const Case& c : kCases) {
      SCOPED_TRACE(std::string(name_of(format)) + ' ' + std::to_string(c.rows) + 'x' +
                   std::to_string(c.columns) + " batch " + std::to_string(c.batch));
      check(random_blocks(format, c.rows, c.columns, 31), c, random_values(c.columns * c.batch, 32));
    }
}

/// Outputs that are not the plain loop's bit for bit.
int count_other(const TestMatrix& w, const Case& c, const std::vector<float>& x,
                const std::vector<float>& y) {
  const std::int64_t row_bytes = stored_row_bytes(w.view.format, c.columns);
  int other = 0;
  for (std::int64_t b = 0; b < c.batch; ++b)
    for (std::int64_t r = 0; r < c.rows; ++r) {
      const float expected =
          reference_int8(w.view.format, c.columns, w.stored.data() + r * row_bytes, x.data() + b * c.columns);
      const float found = y[static_cast<std::size_t>(b * (w.view.panels() * kPanelRows + 5) + r)];
      other += std::memcmp(&expected, &found, sizeof found) != 0;
    }
  return other;
}

/// Every target that the program holds and the processor runs, also those between the levels.
class EveryTarget {
 public:
  EveryTarget() {
    for (std::int64_t left = hwy::SupportedTargets(); left != 0; left &= left - 1)
      targets_.push_back(left & -left);
  }
  ~EveryTarget() { use_instruction_set(best_instruction_set()); }
  EveryTarget(const EveryTarget&) = delete;
  EveryTarget& operator=(const EveryTarget&) = delete;

  template <typename Body>
  void run(Body&& body) const {
    for (const std::int64_t target : targets_) {
      SCOPED_TRACE(hwy::TargetName(target));
      hwy::GetChosenTarget().Update(target);
      body();
    }
  }

 private:
  std::vector<std::int64_t> targets_;
};

TEST(MatmulInt8, IsThePlainLoopOnEveryInstructionSet) {
  const EveryTarget every;
  for_all_cases([&every](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    ASSERT_TRUE(wants_quantized(w.view));
    every.run([&] { EXPECT_EQ(count_other(w, c, x, product(w.view, x, c.batch)), 0); });
  });
}

// The largest products of either sign: sums of 16 bits would saturate.
TEST(MatmulInt8, ExtremesAreExact) {
  const EveryTarget every;
  for (const NumberFormat format : kBlockFormats)
    for (const int byte : {0x00, 0x7f, 0x80, 0xff, 0xf0, 0x0f, 0x88})
      for (const int pattern : {0, 1, 2}) {
        TestMatrix w(format, 40, 96, 5);
        const std::size_t header = format == NumberFormat::q4_1 ? 4 : 2;
        for (std::size_t at = 0; at < w.stored.size(); ++at)
          if (at % static_cast<std::size_t>(stored_row_bytes(format, 32)) >= header)
            w.stored[at] = static_cast<std::byte>(byte);
        pack_panels(format, 40, 96, w.stored.data(), 0, w.view.panels(), w.packed.data());
        std::vector<float> x(96 * 2);
        for (std::size_t i = 0; i < x.size(); ++i)
          x[i] = pattern == 0 ? 127.0f : (pattern == 1 ? -127.0f : (i % 2 == 0 ? 127.0f : -127.0f));
        every.run([&] {
          EXPECT_EQ(count_other(w, {40, 96, 2}, x, product(w.view, x, 2)), 0)
              << name_of(format) << ' ' << byte << ' ' << pattern;
        });
      }
}

// Sums that an unfused multiply-add, or one rounded twice, gets wrong: tiny steps on a large sum, subnormals.
TEST(MatmulInt8, FusedWhereTheProcessorIsNot) {
  const EveryTarget every;
  const Case c{64, 512, 2};
  for (const float spread : {1e-30f, 1e-36f, 1.0f, 1e30f})
    for (const NumberFormat format : kBlockFormats) {
      const TestMatrix w = random_blocks(format, c.rows, c.columns, 41);
      std::vector<float> x = random_values(c.columns * c.batch, 42, spread);
      for (std::size_t i = 0; i < 64; ++i) x[i] *= 3e4f;
      every.run([&] { EXPECT_EQ(count_other(w, c, x, product(w.view, x, c.batch)), 0) << spread; });
    }
}

// a * b = 2^42 and a little, c such that 2^42 is half of its last place: rounded twice, the little is lost.
TEST(MatmulInt8, FusedRoundsOnce) {
  int twice = 0;
  for (std::int64_t dot = (1 << 18) + 1; dot < 520192; ++dot) {
    const std::int64_t factor = (std::int64_t{1} << 42) / dot + 1;
    const auto a = static_cast<float>(dot);
    for (const std::int64_t scale : {factor, factor - 1})
      for (const float sign : {1.0f, -1.0f}) {
        const auto b = static_cast<float>(scale) * sign;
        for (const float c : {0x1p66f, 0x1.000002p66f, -0x1.000002p66f}) {
          const float expected = std::fma(a, b, c);
          ASSERT_EQ(fused(a, b, c), expected) << dot << ' ' << b << ' ' << c;
          const double sum = static_cast<double>(a) * static_cast<double>(b) + static_cast<double>(c);
          twice += static_cast<float>(sum) != expected;
        }
      }
  }
  EXPECT_GT(twice, 100) << "the cases are too easy";
  for (const float a : {0.0f, 1e-45f, 3e38f, -3e38f})
    for (const float c : {0.0f, -1e-45f, 3e38f, -3e38f, std::numeric_limits<float>::infinity()})
      EXPECT_EQ(fused(a, 1.5f, c), std::fma(a, 1.5f, c)) << a << ' ' << c;
}

// The twins: what a slightly wrong product computes is seen.
TEST(MatmulInt8, ComparisonSeesOneChangedBit) {
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    TestMatrix changed = random_blocks(w.view.format, c.rows, c.columns, 31);
    changed.stored[changed.stored.size() / 2 + 3] ^= std::byte{0x10};
    EXPECT_GT(count_other(changed, c, x, product(w.view, x, c.batch)), 0);
    std::vector<float> shifted = x;
    std::rotate(shifted.begin(), shifted.begin() + 1, shifted.end());
    EXPECT_GT(count_other(w, c, shifted, product(w.view, x, c.batch)), 0);
  });
}

TEST(MatmulInt8, EveryRowIsTheSameAlone) {
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    const std::int64_t stride = w.view.panels() * kPanelRows + 5;
    const std::vector<float> y = product(w.view, x, c.batch);
    for (std::int64_t b = 0; b < c.batch; ++b) {
      const std::vector<float> row(x.begin() + b * c.columns, x.begin() + (b + 1) * c.columns);
      ASSERT_TRUE(same_bits(product(w.view, row, 1), {y.begin() + b * stride, y.begin() + (b + 1) * stride}));
    }
  });
}

TEST(MatmulInt8, PanelCutsChangeNothing) {
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    const std::vector<float> whole = product(w.view, x, c.batch);
    for (std::int64_t cut = 1; cut < w.view.panels(); ++cut)
      EXPECT_TRUE(same_bits(whole, product(w.view, x, c.batch, cut))) << cut;
  });
}

TEST(MatmulInt8, QuantisesForItself) {
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    const std::int64_t stride = w.view.panels() * kPanelRows + 5;
    std::vector<float> y(static_cast<std::size_t>(c.batch * stride), kUntouched);
    matmul(w.view, x.data(), c.columns, c.batch, y.data(), stride, 0, w.view.panels());
    EXPECT_TRUE(same_bits(y, product(w.view, x, c.batch)));
  });
}

// Near the exact product, and not it: each activation is off by at most half a step of its block.
TEST(MatmulInt8, IsNearTheExactProduct) {
  for (const NumberFormat format : kBlockFormats) {
    const TestMatrix w(format, 96, 576, 51);
    const std::vector<float> x = random_values(576, 52);
    const std::vector<float> y = product(w.view, x, 1);
    const ReferenceProduct exact(w.values, 96, 576, x, 576, 1);
    double error = 0, size = 0;
    for (std::size_t r = 0; r < 96; ++r) {
      error += std::pow(static_cast<double>(y[r]) - exact.y[r], 2);
      size += std::pow(exact.y[r], 2);
    }
    EXPECT_LT(std::sqrt(error / size), 0.01) << name_of(format);
    EXPECT_GT(std::sqrt(error / size), 0.001) << name_of(format);
  }
}

TEST(MatmulInt8, WritesItsPanelsOnly) {
  const TestMatrix w(NumberFormat::q4_1, 200, 64, 3);  // 7 panels
  for (const std::int64_t batch : {1, 3, 9}) {
    const QuantizedRows rows(random_values(64 * batch, 4), 64, batch);
    std::vector<float> y(static_cast<std::size_t>(batch * 224), kUntouched);
    matmul(w.view, rows.view(), batch, y.data(), 224, 2, 5);
    for (std::int64_t i = 0; i < batch * 224; ++i) {
      const bool inside = i % 224 >= 64 && i % 224 < 160;
      EXPECT_EQ(y[static_cast<std::size_t>(i)] != kUntouched, inside) << i;
    }
  }
}

TEST(MatmulInt8, ValuesThatAreNotFiniteStayVisible) {
  for (const NumberFormat format : kBlockFormats)
    for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
      const TestMatrix w(format, 20, 64, 3);
      std::vector<float> x = random_values(64 * 3, 4);
      x[64 + 63] = bad;
      const std::vector<float> y = product(w.view, x, 3);
      EXPECT_TRUE(all_finite(y.data(), 20)) << name_of(format);
      for (std::size_t r = 0; r < 20; ++r) EXPECT_TRUE(std::isnan(y[37 + r])) << name_of(format) << ' ' << r;
      EXPECT_TRUE(all_finite(y.data() + 74, 20)) << name_of(format);
    }
}

TEST(MatmulInt8, ChosenFormatDecidesWhatIsRead) {
  const TestMatrix block(NumberFormat::q4_0, 40, 64, 3), plain(NumberFormat::bf16, 40, 64, 3);
  EXPECT_TRUE(wants_quantized(block.view));
  EXPECT_FALSE(wants_quantized(plain.view));
  use_activations(ActivationFormat::f32);
  EXPECT_FALSE(wants_quantized(block.view));
  use_activations(ActivationFormat::int8);
  use_matmul_kernels(MatmulKernels::blas);
  EXPECT_FALSE(wants_quantized(block.view));
  use_matmul_kernels(MatmulKernels::native);
  EXPECT_TRUE(wants_quantized(block.view));
}

TEST(MatmulInt8, ThreadsOnTheirOwnPanels) {
  const TestMatrix w(NumberFormat::q8_0, 640, 96, 3);
  const QuantizedRows rows(random_values(96 * 9, 4), 96, 9);
  std::vector<float> together(9 * 640), apart(9 * 640);
  matmul(w.view, rows.view(), 9, together.data(), 640, 0, 20);
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] { matmul(w.view, rows.view(), 9, apart.data(), 640, t * 5, t * 5 + 5); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(same_bits(together, apart));
}

}  // namespace
}  // namespace stagformer::internal
