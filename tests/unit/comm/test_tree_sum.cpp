// The sum over sections: its fixed order, and the same bits wherever the sections are. Over threads and over
// MPI.
#include "comm/tree_sum.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>

#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

using test::for_each_rank;

constexpr std::size_t kValues = 3000;

// Magnitudes so different that another order of sums gives other bits.
std::vector<std::vector<float>> vectors(int sections, int call) {
  std::vector<std::vector<float>> all;
  std::minstd_rand random(static_cast<unsigned>(sections * 1000 + call + 1));
  for (int s = 0; s < sections; ++s) {
    auto& vector = all.emplace_back(kValues);
    for (float& x : vector) {
      const auto bits = static_cast<std::int32_t>(random()) - (1 << 30);
      x = std::ldexp(static_cast<float>(bits), -(bits & 31));
    }
  }
  return all;
}

// The order as documented, written down anew.
std::vector<float> reference(const std::vector<std::vector<float>>& all, std::size_t lo, std::size_t hi) {
  if (hi - lo == 1) return all[lo];
  const std::size_t mid = lo + (hi - lo + 1) / 2;
  std::vector<float> left = reference(all, lo, mid);
  const std::vector<float> right = reference(all, mid, hi);
  for (std::size_t i = 0; i < left.size(); ++i) left[i] += right[i];
  return left;
}

bool same_bits(const float* a, const float* b, std::size_t n) {
  return std::memcmp(a, b, n * sizeof(float)) == 0;
}

std::size_t values_of(int call) {
  return call % 3 == 0 ? kValues : call % 3 == 1 ? 1 : 700;
}

void sum_often(Transport& transport, int sections) {
  const int own = sections / transport.size(), first = transport.rank() * own;
  TreeSum sum(transport, sections, kValues, 10);
  for (int call = 0; call < 5; ++call) {
    const auto all = vectors(sections, call);
    std::vector<const float*> mine;
    for (int s = first; s < first + own; ++s) mine.push_back(all[static_cast<std::size_t>(s)].data());
    sum.start(mine, values_of(call));
    const float* result = sum.wait({.what = "the sum", .step = call});
    ASSERT_EQ(result != nullptr, transport.rank() == transport.size() - 1);
    if (result == nullptr) continue;
    const auto expected = reference(all, 0, all.size());
    EXPECT_TRUE(same_bits(result, expected.data(), values_of(call)))
        << sections << " sections on " << transport.size() << " ranks, call " << call;
  }
  transport.barrier();
}

TEST(TreeSum, GivesTheSameBitsOnEveryNumberOfRanks) {
  const LocalOptions kind, unkind{.rendezvous = true, .random_delay_us = 200, .seed = 3};
  for (const LocalOptions& options : {kind, unkind})
    for (int sections = 1; sections <= 12; ++sections)
      for (int ranks = 1; ranks <= sections; ++ranks)
        if (sections % ranks == 0)
          for_each_rank(
              ranks, [sections](Transport& transport) { sum_often(transport, sections); }, options);
}

TEST(TreeSum, AnotherOrderWouldGiveOtherBits) {
  const auto all = vectors(7, 0);
  std::vector<float> left_to_right = all[0];
  for (std::size_t s = 1; s < all.size(); ++s)
    for (std::size_t i = 0; i < kValues; ++i) left_to_right[i] += all[s][i];
  EXPECT_FALSE(same_bits(left_to_right.data(), reference(all, 0, 7).data(), kValues));
}

TEST(ReductionPlan, CutsEveryIntervalOnceAndDependsOnSectionsAlone) {
  for (const int sections : {1, 2, 3, 6, 12, 48, 1024}) {
    const auto alone = reduction_plan(sections, 1);
    ASSERT_EQ(alone.size(), static_cast<std::size_t>(sections - 1));
    std::vector<bool> cut(static_cast<std::size_t>(sections), false);
    for (const SumNode& node : alone) {
      EXPECT_EQ(node.mid, node.lo + (node.hi - node.lo + 1) / 2);
      EXPECT_FALSE(cut[static_cast<std::size_t>(node.mid)]);
      cut[static_cast<std::size_t>(node.mid)] = true;
    }
    for (int ranks = 1; ranks <= sections; ranks *= 2) {
      if (sections % ranks != 0) continue;
      const auto spread = reduction_plan(sections, ranks);
      ASSERT_EQ(spread.size(), alone.size());
      for (std::size_t i = 0; i < spread.size(); ++i) {
        EXPECT_EQ(spread[i].lo, alone[i].lo);
        EXPECT_EQ(spread[i].hi, alone[i].hi);
        EXPECT_EQ(spread[i].owner, (spread[i].hi - 1) / (sections / ranks));
      }
      if (sections > 1) {
        EXPECT_EQ(spread.back().owner, ranks - 1);
      }
    }
  }
}

}  // namespace
}  // namespace stagformer::internal
