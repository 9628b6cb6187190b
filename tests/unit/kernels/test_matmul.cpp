#include <gtest/gtest.h>

#include <thread>

#include "kernel_compare.hpp"

namespace stagformer::internal {
namespace {

constexpr float kUntouched = -12345;

/// Products of f32 activations; test_matmul_int8.cpp has the others.
class Matmul : public ::testing::Test {
 protected:
  void SetUp() override { use_activations(ActivationFormat::f32); }
  void TearDown() override { use_activations(ActivationFormat::int8); }
};

struct Case {
  std::int64_t rows, columns, batch;
};

// Odd sizes; one panel, a whole tile of panels and remainders; batches on both sides of every tile border.
const Case kCases[] = {{1, 1, 1},      {16, 32, 1},   {5, 7, 2},     {64, 64, 3},  {65, 96, 4},
                       {130, 33, 5},   {37, 160, 6},  {96, 257, 7},  {80, 512, 8}, {33, 320, 13},
                       {144, 128, 17}, {50, 288, 64}, {70, 301, 12}, {34, 289, 25}};

// x starts one float off a cache line.
std::vector<float> product(const PackedMatrix& w, const std::vector<float>& x, std::int64_t x_stride,
                           std::int64_t batch, const std::vector<std::int64_t>& cuts = {}) {
  const std::int64_t stride = w.panels() * kPanelRows + 3;
  std::vector<float> y(static_cast<std::size_t>(batch * stride), kUntouched);
  std::vector<std::int64_t> borders = {0};
  borders.insert(borders.end(), cuts.begin(), cuts.end());
  borders.push_back(w.panels());
  for (std::size_t i = 0; i + 1 < borders.size(); ++i)
    matmul(w, x.data() + 1, x_stride, batch, y.data(), stride, borders[i], borders[i + 1]);
  return y;
}

// Rows of x with a gap of NaN between them: nothing beyond the columns may be read.
std::vector<float> inputs(const Case& c, unsigned seed) {
  const std::vector<float> values = random_values(c.columns * c.batch, seed);
  std::vector<float> x(static_cast<std::size_t>(c.batch * (c.columns + 2) + 1), std::nanf(""));
  for (std::int64_t b = 0; b < c.batch; ++b)
    std::copy_n(values.begin() + b * c.columns, c.columns, x.begin() + 1 + b * (c.columns + 2));
  return x;
}

template <typename Check>
void for_all_cases(Check&& check) {
  for (const NumberFormat format : kAllFormats)
    for (const Case& c : kCases) {
      if (is_block_format(format) && c.columns % 32 != 0) continue;
      SCOPED_TRACE(std::string(name_of(format)) + ' ' + std::to_string(c.rows) + 'x' +
                   std::to_string(c.columns) + " batch " + std::to_string(c.batch));
      check(TestMatrix(format, c.rows, c.columns, 21), c, inputs(c, 22));
    }
}

TEST_F(Matmul, AgreesWithDouble) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
      const std::vector<float> y = product(w.view, x, c.columns + 2, c.batch);
      const ReferenceProduct reference(w.values, c.rows, c.columns, {x.begin() + 1, x.end()}, c.columns + 2,
                                       c.batch);
      EXPECT_EQ(count_wrong(reference, y, w.view.panels() * kPanelRows + 3, c.rows, c.columns), 0);
    });
  }
}

// The twin: one weight changed in the reference by what the coarsest comparison must still see.
TEST_F(Matmul, ComparisonSeesOneChangedWeight) {
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    std::vector<float> values = w.values;
    values[values.size() / 2] += 0.01f;
    const std::vector<float> y = product(w.view, x, c.columns + 2, c.batch);
    const ReferenceProduct reference(values, c.rows, c.columns, {x.begin() + 1, x.end()}, c.columns + 2,
                                     c.batch);
    EXPECT_GT(count_wrong(reference, y, w.view.panels() * kPanelRows + 3, c.rows, c.columns), 0);
  });
}

// One chain of fused multiply-adds over ascending k: the promise, spelled out.
TEST_F(Matmul, IsOneChainOverAscendingColumns) {
  if (best_instruction_set() == 0) GTEST_SKIP() << "no fused multiply-add";
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    const std::vector<float> y = product(w.view, x, c.columns + 2, c.batch);
    for (std::int64_t b = 0; b < c.batch; ++b)
      for (std::int64_t r = 0; r < c.rows; ++r) {
        float sum = 0;
        for (std::int64_t k = 0; k < c.columns; ++k)
          sum = std::fma(x[static_cast<std::size_t>(1 + b * (c.columns + 2) + k)],
                         w.values[static_cast<std::size_t>(r * c.columns + k)], sum);
        ASSERT_EQ(y[static_cast<std::size_t>(b * (w.view.panels() * kPanelRows + 3) + r)], sum)
            << b << ' ' << r;
      }
  });
}

TEST_F(Matmul, BlockFormatsEqualTheirDequantisedProduct) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
      AlignedBuffer<std::byte> packed(
          static_cast<std::size_t>(packed_bytes(NumberFormat::f32, c.rows, c.columns)));
      pack_panels(NumberFormat::f32, c.rows, c.columns, reinterpret_cast<const std::byte*>(w.values.data()),
                  0, w.view.panels(), packed.data());
      const PackedMatrix dequantised{NumberFormat::f32, c.rows, c.columns, packed.data()};
      EXPECT_TRUE(same_bits(product(w.view, x, c.columns + 2, c.batch),
                            product(dequantised, x, c.columns + 2, c.batch)));
    });
  }
}

TEST_F(Matmul, EveryRowIsTheSameAlone) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
      const std::int64_t stride = w.view.panels() * kPanelRows + 3;
      const std::vector<float> y = product(w.view, x, c.columns + 2, c.batch);
      for (std::int64_t b = 0; b < c.batch; ++b) {
        const std::vector<float> row(x.begin() + b * (c.columns + 2), x.end());
        const std::vector<float> alone = product(w.view, row, c.columns + 2, 1);
        ASSERT_TRUE(same_bits(alone, {y.begin() + b * stride, y.begin() + (b + 1) * stride})) << b;
      }
    });
  }
}

TEST_F(Matmul, PanelCutsChangeNothing) {
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    const std::vector<float> whole = product(w.view, x, c.columns + 2, c.batch);
    std::vector<std::int64_t> every(static_cast<std::size_t>(w.view.panels() - 1));
    for (std::size_t i = 0; i < every.size(); ++i) every[i] = static_cast<std::int64_t>(i) + 1;
    EXPECT_TRUE(same_bits(whole, product(w.view, x, c.columns + 2, c.batch, every)));
    const std::int64_t middle = w.view.panels() / 2;
    EXPECT_TRUE(same_bits(whole, product(w.view, x, c.columns + 2, c.batch, {middle})));
  });
}

TEST_F(Matmul, WritesItsPanelsOnly) {
  const TestMatrix w(NumberFormat::q8_0, 200, 64, 3);  // 7 panels
  for (const std::int64_t batch : {1, 3, 9}) {
    const std::vector<float> x = random_values(64 * batch, 4);
    std::vector<float> y(static_cast<std::size_t>(batch * 224), kUntouched);
    matmul(w.view, x.data(), 64, batch, y.data(), 224, 2, 5);
    for (std::int64_t i = 0; i < batch * 224; ++i) {
      const bool inside = i % 224 >= 64 && i % 224 < 160;
      EXPECT_EQ(y[static_cast<std::size_t>(i)] != kUntouched, inside) << i;
    }
  }
}

TEST_F(Matmul, RowsBeyondTheMatrixAreZero) {
  for (const NumberFormat format : kAllFormats) {
    const TestMatrix w(format, 38, 32, 3);
    const std::vector<float> x = random_values(32, 4);
    std::vector<float> y(64, kUntouched);
    matmul(w.view, x.data(), 32, 1, y.data(), 64, 0, 2);
    for (std::size_t r = 38; r < 64; ++r) EXPECT_EQ(y[r], 0) << name_of(format);
  }
}

TEST_F(Matmul, Avx2AndAvx512GiveTheSameBits) {
  if (best_instruction_set() < 2) GTEST_SKIP() << "one vector width only";
  for_all_cases([](const TestMatrix& w, const Case& c, const std::vector<float>& x) {
    const std::vector<float> wide = product(w.view, x, c.columns + 2, c.batch);
    const InstructionSetGuard guard(1);
    EXPECT_TRUE(same_bits(wide, product(w.view, x, c.columns + 2, c.batch)));
  });
}

// The twin of the test above: without fused multiply-add some sums must differ, or nothing was switched.
TEST_F(Matmul, PortableGivesOtherBits) {
  if (best_instruction_set() == 0) GTEST_SKIP() << "portable only";
  const TestMatrix w(NumberFormat::f32, 64, 257, 3);
  const std::vector<float> x = random_values(258, 4);
  const std::vector<float> fused = product(w.view, x, 257, 1);
  const InstructionSetGuard guard(0);
  EXPECT_FALSE(same_bits(fused, product(w.view, x, 257, 1)));
}

// A NaN or infinity in x reaches every output of its row, and no other row.
TEST_F(Matmul, ValuesThatAreNotFiniteStayVisible) {
  for (const NumberFormat format : kAllFormats) {
    const TestMatrix w(format, 20, 64, 3);
    std::vector<float> x = random_values(64 * 3, 4);
    x[64 + 63] = std::numeric_limits<float>::infinity();
    std::vector<float> y(3 * 32);
    matmul(w.view, x.data(), 64, 3, y.data(), 32, 0, 1);
    EXPECT_TRUE(all_finite(y.data(), 32)) << name_of(format);
    EXPECT_FALSE(all_finite(y.data() + 32, 20)) << name_of(format);
    EXPECT_TRUE(all_finite(y.data() + 64, 32)) << name_of(format);
  }
}

TEST_F(Matmul, ThreadsOnTheirOwnPanels) {
  const TestMatrix w(NumberFormat::q4_1, 640, 96, 3);
  const std::vector<float> x = random_values(96 * 9, 4);
  std::vector<float> together(9 * 640), apart(9 * 640);
  matmul(w.view, x.data(), 96, 9, together.data(), 640, 0, 20);
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] { matmul(w.view, x.data(), 96, 9, apart.data(), 640, t * 5, t * 5 + 5); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(same_bits(together, apart));
}

}  // namespace
}  // namespace stagformer::internal
