#include <gtest/gtest.h>

#include <thread>

#include "kernel_compare.hpp"
#include "kernels/blas.hpp"

namespace stagformer::internal {
namespace {

class BlasMatmul : public ::testing::Test {
 protected:
  void SetUp() override { use_matmul_kernels(MatmulKernels::blas); }
  void TearDown() override { use_matmul_kernels(MatmulKernels::native); }

  static std::vector<float> product(const PackedMatrix& w, const float* x, std::int64_t batch,
                                    std::int64_t cut = 0) {
    const std::int64_t stride = w.panels() * kPanelRows;
    std::vector<float> y(static_cast<std::size_t>(batch * stride), -1);
    matmul(w, x, w.columns, batch, y.data(), stride, 0, cut);
    matmul(w, x, w.columns, batch, y.data(), stride, cut, w.panels());
    return y;
  }
};

TEST_F(BlasMatmul, AgreesWithDouble) {
  for (const NumberFormat format : kAllFormats)
    for (const auto& [rows, columns, batch] :
         {std::tuple{1, 32, 1}, {70, 160, 5}, {64, 256, 16}, {130, 96, 37}}) {
      const TestMatrix w(format, rows, columns, 5);
      const std::vector<float> x = random_values(columns * batch, 6);
      const std::vector<float> y = product(w.view, x.data(), batch);
      const ReferenceProduct reference(w.values, rows, columns, x, columns, batch);
      EXPECT_EQ(count_wrong(reference, y, w.view.panels() * kPanelRows, rows, columns), 0)
          << name_of(format) << rows;
      std::vector<float> wrong = w.values;
      wrong[wrong.size() / 2] += 0.01f;
      const ReferenceProduct twin(wrong, rows, columns, x, columns, batch);
      EXPECT_GT(count_wrong(twin, y, w.view.panels() * kPanelRows, rows, columns), 0)
          << name_of(format) << rows;
    }
}

// Row b of a batch stands at row b % 16 of a tile: alone it stands at row 0, and must give the same bits.
TEST_F(BlasMatmul, EveryRowIsTheSameAlone) {
  for (const std::int64_t columns : {32, 576, 1536}) {
    const TestMatrix w(NumberFormat::bf16, 150, columns, 5);
    const std::vector<float> x = random_values(columns * 37, 6);
    const std::vector<float> y = product(w.view, x.data(), 37);
    for (std::int64_t b = 0; b < 37; ++b) {
      const std::vector<float> alone = product(w.view, x.data() + b * columns, 1);
      ASSERT_TRUE(same_bits(alone, {y.begin() + b * 160, y.begin() + (b + 1) * 160}))
          << b << " of " << columns;
    }
  }
}

TEST_F(BlasMatmul, PanelCutsChangeNothing) {
  const TestMatrix w(NumberFormat::q4_0, 300, 320, 5);  // 10 panels, groups of 2
  const std::vector<float> x = random_values(320 * 18, 6);
  const std::vector<float> whole = product(w.view, x.data(), 18);
  for (std::int64_t cut = 1; cut < 10; ++cut)
    EXPECT_TRUE(same_bits(whole, product(w.view, x.data(), 18, cut))) << cut;
}

TEST_F(BlasMatmul, BuffersServeMatricesOfAllWidths) {
  const TestMatrix wide(NumberFormat::f32, 40, 640, 5), narrow(NumberFormat::f32, 40, 33, 6);
  const std::vector<float> x = random_values(640, 7);
  const std::vector<float> first = product(narrow.view, x.data(), 1);
  product(wide.view, x.data(), 1);
  EXPECT_TRUE(same_bits(first, product(narrow.view, x.data(), 1)));
}

TEST_F(BlasMatmul, ThreadsOnTheirOwnPanels) {
  const TestMatrix w(NumberFormat::q8_0, 640, 96, 3);
  const std::vector<float> x = random_values(96 * 9, 4);
  const std::vector<float> together = product(w.view, x.data(), 9);
  std::vector<float> apart(9 * 640);
  std::vector<std::thread> threads;
  for (std::int64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] { matmul(w.view, x.data(), 96, 9, apart.data(), 640, t * 5, t * 5 + 5); });
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(same_bits(together, apart));
}

TEST(BlasCore, HasANameAndPerhapsABetterOne) {
  EXPECT_FALSE(blas_core_name().empty());
  const std::string better = better_blas_core();
  EXPECT_TRUE(better.empty() || better == "SKYLAKEX" || better == "HASWELL") << better;
  RecordProperty("blas_core", blas_core_name());
}

}  // namespace
}  // namespace stagformer::internal
