#include <gtest/gtest.h>

#include "kernel_compare.hpp"

namespace stagformer::internal {
namespace {

struct Head {
  std::int64_t head_dim, capacity, begin, end;
  std::vector<float> query, keys, values;

  Head(std::int64_t dim, std::int64_t rows, std::int64_t first, std::int64_t last, float spread = 1)
      : head_dim(dim),
        capacity(rows),
        begin(first),
        end(last),
        query(random_values(dim, 1, spread)),
        keys(random_values(dim * rows, 2)),
        values(random_values(dim * rows, 3)) {}

  float scale() const { return 1 / std::sqrt(static_cast<float>(head_dim)); }
  CacheSpan span() const { return {keys.data(), values.data(), capacity, begin, end}; }

  std::vector<float> attended() const {
    std::vector<float> out(static_cast<std::size_t>(head_dim), std::nanf(""));
    attend(query.data(), span(), head_dim, scale(), out.data());
    return out;
  }

  // Softmax over all positions in double.
  std::vector<double> reference() const {
    std::vector<double> score;
    for (std::int64_t j = begin; j < end; ++j) {
      double dot = 0;
      for (std::int64_t d = 0; d < head_dim; ++d)
        dot += static_cast<double>(query[static_cast<std::size_t>(d)]) *
               static_cast<double>(keys[static_cast<std::size_t>(j % capacity * head_dim + d)]);
      score.push_back(dot * static_cast<double>(scale()));
    }
    const double most = *std::max_element(score.begin(), score.end());
    std::vector<double> out(static_cast<std::size_t>(head_dim), 0.0);
    double total = 0;
    for (std::int64_t j = begin; j < end; ++j) {
      const double weight = std::exp(score[static_cast<std::size_t>(j - begin)] - most);
      total += weight;
      for (std::int64_t d = 0; d < head_dim; ++d)
        out[static_cast<std::size_t>(d)] +=
            weight * static_cast<double>(values[static_cast<std::size_t>(j % capacity * head_dim + d)]);
    }
    for (double& value : out) value /= total;
    return out;
  }
};

double largest_difference(const std::vector<float>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    const double difference = std::fabs(static_cast<double>(a[i]) - b[i]);
    if (!(difference <= largest)) largest = difference;  // NaN counts
  }
  return largest;
}

// Values are about 1 and scores about `spread`; a score is off by a few epsilon of its terms' size.
double tolerance(float spread) {
  return 60 * kEpsilon * std::max(1.0, 4.0 * static_cast<double>(spread));
}

const std::tuple<int, int, int, int> kSpans[] = {
    // head_dim, capacity, begin, end
    {64, 200, 0, 200},   {64, 100, 0, 63},   {64, 100, 0, 64},   {64, 100, 0, 65},   {64, 256, 17, 180},
    {64, 70, 500, 570},  {64, 10, 123, 133}, {128, 90, 60, 140}, {32, 300, 1, 300},  {80, 40, 100, 137},
    {16, 512, 256, 700}, {6, 20, 15, 30},    {1, 9, 0, 9},       {70, 130, 64, 129}, {64, 1, 77, 78}};

TEST(Attend, AgreesWithDouble) {
  for (int level = 0; level <= best_instruction_set(); ++level) {
    const InstructionSetGuard guard(level);
    for (const auto& [dim, capacity, begin, end] : kSpans)
      for (const float spread : {0.1f, 1.0f, 20.0f}) {
        const Head head(dim, capacity, begin, end, spread);
        EXPECT_LE(largest_difference(head.attended(), head.reference()), tolerance(spread))
            << dim << ' ' << capacity << ' ' << begin << ' ' << end << ' ' << spread;
      }
  }
}

// Twins: a key changed a little, a position too few, a cache read without wrapping.
TEST(Attend, ComparisonSeesSmallMistakes) {
  Head head(64, 70, 500, 570);
  const std::vector<double> reference = head.reference();
  head.keys[64 * 33 + 5] += 0.1f;
  EXPECT_GT(largest_difference(head.attended(), reference), tolerance(1));
  for (const std::int64_t begin : {499, 501}) {
    Head shifted(64, 71, begin, 570);
    EXPECT_GT(largest_difference(shifted.attended(), reference), tolerance(1));
  }
  Head moved(64, 70, 501, 571);
  EXPECT_LE(largest_difference(moved.attended(), moved.reference()), tolerance(1));
}

TEST(Attend, OnePositionGivesItsValueRow) {
  for (const std::int64_t dim : {1, 6, 16, 64, 80, 128})
    for (const float spread : {0.0f, 1.0f, 1e4f, 1e18f}) {
      const Head head(dim, 7, 12, 13, spread);
      const std::vector<float> out = head.attended();
      for (std::int64_t d = 0; d < dim; ++d)
        EXPECT_EQ(out[static_cast<std::size_t>(d)], head.values[static_cast<std::size_t>(12 % 7 * dim + d)]);
    }
}

// The winner takes all, whichever piece it stands in; no overflow on the way.
TEST(Attend, HugeScoresPickTheLargest) {
  for (const std::int64_t winner : {0, 63, 64, 100, 199}) {
    Head head(64, 200, 0, 200, 1e15f);
    double best = 0;
    for (std::int64_t d = 0; d < 64; ++d) {
      const float q = head.query[static_cast<std::size_t>(d)];
      head.keys[static_cast<std::size_t>(winner * 64 + d)] = 1000 * (q > 0 ? 1.0f : -1.0f);
      best += std::fabs(static_cast<double>(q));
    }
    const std::vector<float> out = head.attended();
    for (std::int64_t d = 0; d < 64; ++d)
      EXPECT_EQ(out[static_cast<std::size_t>(d)], head.values[static_cast<std::size_t>(winner * 64 + d)])
          << winner;
  }
}

TEST(Attend, UnusedRowsAreNotTouched) {
  Head head(64, 200, 70, 150);
  const std::vector<float> clean = head.attended();
  for (std::int64_t j = 0; j < 200; ++j)
    if (j < 70 || j >= 150)
      for (std::int64_t d = 0; d < 64; ++d)
        head.keys[static_cast<std::size_t>(j * 64 + d)] = head.values[static_cast<std::size_t>(j * 64 + d)] =
            std::nanf("");
  EXPECT_TRUE(same_bits(clean, head.attended()));
}

// Where the cache wraps is storage, not arithmetic.
TEST(Attend, CapacityDoesNotChangeBits) {
  const Head large(64, 400, 230, 330);
  Head small(64, 100, 230, 330);
  for (std::int64_t j = 230; j < 330; ++j)
    for (std::int64_t d = 0; d < 64; ++d) {
      small.keys[static_cast<std::size_t>(j % 100 * 64 + d)] =
          large.keys[static_cast<std::size_t>(j * 64 + d)];
      small.values[static_cast<std::size_t>(j % 100 * 64 + d)] =
          large.values[static_cast<std::size_t>(j * 64 + d)];
    }
  EXPECT_TRUE(same_bits(large.attended(), small.attended()));
}

TEST(Attend, NaNStaysVisible) {
  Head head(64, 200, 0, 200);
  head.keys[64 * 130] = std::nanf("");
  const std::vector<float> out = head.attended();
  EXPECT_FALSE(all_finite(out.data(), 64));
}

TEST(Attend, Avx2AndAvx512GiveTheSameBits) {
  if (best_instruction_set() < 2) GTEST_SKIP() << "one vector width only";
  for (const auto& [dim, capacity, begin, end] : kSpans)
    for (const float spread : {1.0f, 20.0f}) {
      const Head head(dim, capacity, begin, end, spread);
      const std::vector<float> wide = head.attended();
      const InstructionSetGuard guard(1);
      EXPECT_TRUE(same_bits(wide, head.attended())) << dim << ' ' << begin << ' ' << end;
    }
}

}  // namespace
}  // namespace stagformer::internal
