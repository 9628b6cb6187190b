// The measurement of a link, of links in virtual time whose every message's time is known.
#include "pipeline/link_speed.hpp"

#include <gtest/gtest.h>

#include <cstddef>
#include <functional>
#include <vector>

#include "comm/simulated_world.hpp"

namespace stagformer::internal {
namespace {

using Latency = std::function<double(double)>;

LinkModel measured(const Latency& latency_s, int ranks = 2) {
  std::vector<LinkModel> found(static_cast<std::size_t>(ranks));
  run_simulated_ranks(
      ranks, {latency_s, [](double bytes) { return 1e-3 + bytes * 1e-10; }},
      [&](Transport& world) { found[static_cast<std::size_t>(world.rank())] = measure_link(world, 131072); });
  for (const LinkModel& other : found) EXPECT_EQ(other.points().size(), found[0].points().size());
  return found.back();
}

TEST(LinkSpeed, EveryRankHasTheTimesBetweenTheFirstTwo) {
  const auto latency = [](double bytes) { return 2e-3 + bytes * 1e-9; };
  for (const int ranks : {2, 3}) {
    const LinkModel link = measured(latency, ranks);
    for (const double bytes : {8.0, 100.0, 9000.0, 1e5})
      EXPECT_NEAR(link.latency_s(bytes), latency(bytes), 1e-9);
    EXPECT_NEAR(link.gap_s(3000), 1e-3 + 3000 * 1e-10, 1e-9);
  }
}

TEST(LinkSpeed, StraightLinesNeedFewSizes) {
  // seven sizes, and one that was tried between each two
  EXPECT_EQ(measured([](double bytes) { return 1e-3 + bytes * 1e-9; }).points().size(), 13U);
}

// An eager limit far from the sizes that are tried at first: messages on both sides of it must not be mixed.
TEST(LinkSpeed, StepsAreFound) {
  constexpr double kLimit = 50000;
  const auto latency = [](double bytes) { return bytes <= kLimit ? 20e-3 : 60e-3; };
  const LinkModel link = measured(latency);
  for (const double bytes : {8.0, 16384.0, 18432.0, 40000.0, 0.9 * kLimit, 1.1 * kLimit, 65536.0, 1e5})
    EXPECT_NEAR(link.latency_s(bytes), latency(bytes), 1e-6) << bytes;
}

TEST(LinkSpeed, NoiseDoesNotAskForEverMoreSizes) {
  int call = 0;
  const LinkModel link = measured([&call](double) { return ++call % 7 < 3 ? 1e-3 : 3e-3; });
  EXPECT_LE(link.points().size(), 40U);
}

TEST(LinkSpeed, OneRankHasNoLinks) {
  const LinkModel link = measured([](double) { return 1.0; }, 1);
  EXPECT_EQ(link.latency_s(1e6), 0);
}

}  // namespace
}  // namespace stagformer::internal
