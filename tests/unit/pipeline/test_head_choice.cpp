// --head auto follows the two costs that it states.
#include "pipeline/head_choice.hpp"

#include <gtest/gtest.h>

#include "support/rank_world.hpp"

namespace stagformer::internal {
namespace {

TEST(HeadChoice, SlicesALargeHeadAndKeepsASmallOneWholeOnSlowLinks) {
  EXPECT_EQ(choose_head_mode(1e-6, 2e-3, 2).mode, HeadMode::sliced);
  EXPECT_EQ(choose_head_mode(1e-3, 50e-6, 2).mode, HeadMode::last);
  EXPECT_EQ(choose_head_mode(1e-3, 1.9e-3, 2).mode, HeadMode::last) << "saves 0.95 ms, costs a hop of 1 ms";
  EXPECT_EQ(choose_head_mode(1e-3, 2.1e-3, 2).mode, HeadMode::sliced);
  EXPECT_NE(choose_head_mode(1e-3, 50e-6, 2).reason.find("latency 1000.0 us"), std::string::npos);
}

TEST(HeadChoice, AllRanksGetTheSameLatency) {
  std::vector<double> latencies(3);
  test::for_each_rank(3, [&](Transport& transport) {
    transport.set_yield(true);
    latencies[static_cast<std::size_t>(transport.rank())] = measure_latency_s(transport);
  });
  EXPECT_GT(latencies[0], 0);
  EXPECT_EQ(latencies[0], latencies[1]);
  EXPECT_EQ(latencies[0], latencies[2]);
}

}  // namespace
}  // namespace stagformer::internal
