// Traces: clocks that differ, arrows from the ends that ranks saw, a file whose parts fit together.
#include "pipeline/trace.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "comm/local_transport.hpp"
#include "pipeline/trace_clock.hpp"
#include "pipeline/trace_file.hpp"

namespace stagformer::internal {
namespace {

using Kind = TraceMessage::Kind;

TEST(Trace, KeepsWhatItHasRoomForAndCountsTheRest) {
  Trace trace(2);
  for (int pass = 0; pass < 3; ++pass) trace.record(TraceSpan{.pass = pass});
  for (int pass = 0; pass < 6; ++pass) trace.sends(Kind::z, 1, pass);
  EXPECT_EQ(trace.spans().size(), 2U);
  EXPECT_EQ(trace.messages().size(), 4U);
  EXPECT_EQ(trace.messages()[3].pass, 3);
  EXPECT_EQ(trace.dropped(), 3U);
}

TEST(Trace, RecordsNothingWhenOff) {
  Trace trace;
  {
    const TraceScope span(trace, TraceSpan::Kind::head, 1, 1);
    trace.has(Kind::z, 1, 1);
  }
  EXPECT_FALSE(trace.on());
  EXPECT_TRUE(trace.spans().empty() && trace.messages().empty());
  EXPECT_EQ(trace.dropped(), 0U);
}

TEST(TraceClock, KeepsTheBetterSampleWhereTheErrorsLeaveDriftOpen) {
  TraceClock clock;
  EXPECT_EQ(clock.on_rank_0(5), 5);
  clock.add({100, 7, 0.3});
  EXPECT_EQ(clock.on_rank_0(150), 157);
  clock.add({200, 7.35, 0.1});  // 0.35 apart, 0.4 open
  EXPECT_EQ(clock.on_rank_0(150), 157.35);
  EXPECT_EQ(clock.error_s(), 0.1);
}

TEST(TraceClock, FollowsAClockThatDrifts) {
  TraceClock clock;
  clock.add({100, 7, 0.1});
  clock.add({200, 8, 0.2});
  EXPECT_DOUBLE_EQ(clock.on_rank_0(100), 107);
  EXPECT_DOUBLE_EQ(clock.on_rank_0(150), 157.5);
  EXPECT_DOUBLE_EQ(clock.on_rank_0(200), 208);
  EXPECT_EQ(clock.error_s(), 0.2);
}

TEST(TraceClock, IsRankZerosOwnOnOneHost) {
  run_local_ranks(3, {}, [](Transport& world) {
    EXPECT_LT(std::abs(sample_clock(world).offset_s), 0.5) << "measured";
    world.learn_hosts();
    TraceClock clock;
    clock.measure(world);
    EXPECT_EQ(clock.on_rank_0(12), 12);
    EXPECT_EQ(clock.error_s(), 0);
  });
}

/// Two replicas of two ranks. Pass 4: hidden states 0 -> 1 and 2 -> 3, of the latter the end alone was kept.
std::vector<RankTrace> some_ranks() {
  std::vector<RankTrace> ranks(4);
  ranks[0].messages = {{Kind::states, true, 1, 4, 1.0}, {Kind::z, false, 1, 4, 1.3}};
  ranks[1].messages = {{Kind::states, false, 0, 4, 1.5}, {Kind::z, true, 0, 4, 1.2}};
  ranks[3].messages = {{Kind::states, false, 0, 4, 9.0}};
  return ranks;
}

TEST(TraceArrows, JoinBothEndsInsideOfAReplica) {
  const std::vector<TraceArrow> arrows = arrows_of(some_ranks(), {4, 2, 2});
  ASSERT_EQ(arrows.size(), 2U);
  EXPECT_EQ(arrows[0].kind, Kind::states);
  EXPECT_EQ(arrows[0].from, 0);
  EXPECT_EQ(arrows[0].to, 1);
  EXPECT_EQ(arrows[0].sent_s, 1.0);
  EXPECT_EQ(arrows[0].taken_s, 1.5);
  EXPECT_EQ(arrows[1].kind, Kind::z);
  EXPECT_EQ(arrows[1].from, 1);
  EXPECT_EQ(arrows[1].to, 0);
}

TEST(TraceArrows, OfCandidatesComeFromTheRankThatSentLast) {
  std::vector<RankTrace> ranks(6);  // two replicas of three ranks
  for (int r = 0; r < 6; ++r) {
    auto& messages = ranks[static_cast<std::size_t>(r)].messages;
    messages.push_back({Kind::candidates, true, -1, 7, r == 1 ? 5.0 : r == 3 ? 6.0 : 3.0});
    messages.push_back({Kind::candidates, false, -1, 7, 8.0 + r});
  }
  const std::vector<TraceArrow> arrows = arrows_of(ranks, {6, 3, 2});
  std::vector<std::pair<int, int>> ends;
  for (const TraceArrow& arrow : arrows) {
    ends.emplace_back(arrow.from, arrow.to);
    EXPECT_EQ(arrow.sent_s, arrow.from == 1 ? 5.0 : 6.0);
    EXPECT_EQ(arrow.taken_s, 8.0 + arrow.to);
  }
  EXPECT_EQ(ends, (std::vector<std::pair<int, int>>{{1, 0}, {1, 2}, {3, 4}, {3, 5}}));
}

TEST(TraceFile, WritesNestedSpansOuterFirstInNanoseconds) {
  std::vector<RankTrace> ranks(1);
  ranks[0].host = "a \"quoted\" host";
  ranks[0].clock_error_s = 2e-6;
  ranks[0].dropped = 3;
  ranks[0].spans = {{TraceSpan::Kind::head, -1, 2, 1, 10.0000001, 10.0000004},
                    {TraceSpan::Kind::read_out, -1, 2, 1, 10.0000001, 10.0015},
                    {TraceSpan::Kind::section, 0, 2, 1, 10.0, 10.00000005}};
  const auto file = nlohmann::json::parse(trace_json(ranks, {1, 1, 1}));
  EXPECT_EQ(file["otherData"]["dropped"], nlohmann::json({3}));
  EXPECT_NEAR(file["otherData"]["clock_error_us"][0].get<double>(), 2, 1e-9);
  std::vector<nlohmann::json> spans;
  for (const auto& event : file["traceEvents"]) {
    if (event["ph"] == "X") spans.push_back(event);
    if (event["name"] == "process_name") {
      EXPECT_EQ(event["args"]["name"], "rank 0 on a \"quoted\" host");
    }
  }
  ASSERT_EQ(spans.size(), 3U);
  EXPECT_EQ(spans[0]["name"], "section 0");
  EXPECT_EQ(spans[0]["ts"], 0.0);
  EXPECT_EQ(spans[0]["dur"], 0.05);
  EXPECT_EQ(spans[1]["name"], "read-out");
  EXPECT_EQ(spans[1]["ts"], 0.1);
  EXPECT_EQ(spans[1]["dur"], 1499.9);
  EXPECT_EQ(spans[2]["name"], "head");
}

TEST(TraceFile, AllRecordsReachRankZero) {
  run_local_ranks(3, {}, [](Transport& world) {
    world.learn_hosts();
    Trace trace(10);
    for (int pass = 0; pass <= world.rank(); ++pass) {
      const TraceScope span(trace, TraceSpan::Kind::head, pass, 5);
      trace.sends(Kind::z, 0, pass);
    }
    TraceClock clock;
    clock.add({0, 100.0 * world.rank(), 0.25});
    const std::vector<RankTrace> all = gather_trace(world, trace, clock);
    ASSERT_EQ(all.size(), world.rank() == 0 ? 3U : 0U);
    for (std::size_t r = 0; r < all.size(); ++r) {
      ASSERT_EQ(all[r].spans.size(), r + 1);
      ASSERT_EQ(all[r].messages.size(), r + 1);
      EXPECT_EQ(all[r].host, world.host_name());
      EXPECT_EQ(all[r].clock_error_s, 0.25);
      EXPECT_EQ(all[r].spans[r].pass, static_cast<std::int64_t>(r));
      EXPECT_EQ(all[r].spans[r].rows, 5);
      EXPECT_LE(all[r].spans[r].begin_s, all[r].messages[r].at_s);
      EXPECT_LE(all[r].messages[r].at_s, all[r].spans[r].end_s);
      EXPECT_NEAR(all[r].spans[0].begin_s - all[0].spans[0].begin_s, 100.0 * static_cast<double>(r), 50);
    }
  });
}

}  // namespace
}  // namespace stagformer::internal
