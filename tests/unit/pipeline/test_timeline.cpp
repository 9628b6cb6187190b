// The timeline of a step by hand: who waits for what, and how the terms add up.
#include "pipeline/timeline.hpp"

#include <gtest/gtest.h>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr double kLatency = 10, kLayers = 100, kHead = 8, kChoice = 1;
const LinkModel kLink({{0, kLatency, 0}});

std::vector<RankWork> ranks(std::size_t n, bool waits = false, double layers = kLayers) {
  std::vector<RankWork> work(n, RankWork{layers, 0, kHead / static_cast<double>(n), kChoice, false});
  for (std::size_t r = 1; r < n; ++r) work[r].waits = waits;
  return work;
}

TEST(Timeline, OneRankIsTheSumOfItsParts) {
  const Timeline timeline = decode_timeline(ranks(1), {}, HeadMode::sliced, kLink);
  EXPECT_DOUBLE_EQ(timeline.step_s, kLayers + kHead + kChoice);
  EXPECT_NEAR(timeline.waits_s[0], 0, 1e-9);
}

TEST(Timeline, StaggeredRanksCostOneSection) {
  for (const std::size_t n : {2U, 4U, 8U}) {
    const double hops = n == 2 ? 1 : n == 4 ? 2 : 3;
    EXPECT_NEAR(decode_timeline(ranks(n), {}, HeadMode::sliced, kLink).step_s,
                kLayers + 2 * hops * kLatency + kHead / static_cast<double>(n) + kChoice, 1e-9)
        << n;
  }
}

// Rank 0 begins the next token when it knows it itself: z comes straight from the last rank (10), which with
// two ranks brings its candidates at the same time; with four, ranks 1 and 2 heard of z and of each other
// first (20 more).
TEST(Timeline, SequentialRanksCostAllSections) {
  EXPECT_NEAR(decode_timeline(ranks(2, true), {}, HeadMode::sliced, kLink).step_s,
              2 * kLayers + kLatency + kLatency + kHead / 2 + kChoice, 1e-9);
  EXPECT_NEAR(decode_timeline(ranks(4, true), {}, HeadMode::sliced, kLink).step_s,
              4 * kLayers + 3 * kLatency + 3 * kLatency + kHead / 4 + kChoice, 1e-9);
}

TEST(Timeline, TheSlowestRankIsWhatAllWaitFor) {
  std::vector<RankWork> work = ranks(4);
  work[1].layers_s = 150;
  const Timeline timeline = decode_timeline(work, {}, HeadMode::sliced, kLink);
  // Rank 1 joins the candidates' exchange later than z arrives: two rounds after its head.
  EXPECT_NEAR(timeline.step_s, 150 + kHead / 4 + 2 * kLatency + kChoice, 1e-9);
  EXPECT_LT(timeline.waits_s[1], timeline.waits_s[0]);
}

// The last rank knows its own choice at once; the token takes two hops to the farthest rank, whose memory
// takes one back and is needed a step later. Two steps thus share what exceeds them: 2 c = 100 + 8 + 1 + 20 +
// 100 + 10.
TEST(Timeline, AWholeHeadHidesHalfOfTheLatency) {
  std::vector<RankWork> work = ranks(4);
  for (RankWork& rank : work) rank.head_s = kHead;
  EXPECT_NEAR(decode_timeline(work, {}, HeadMode::last, kLink).step_s,
              (2 * kLayers + kHead + kChoice + 3 * kLatency) / 2, 1e-9);
}

// The memory of step i is needed in step i + 1: a slow message costs two steps together what exceeds them.
TEST(Timeline, MemoryTravelsUnderTheReadOut) {
  const std::vector<RankWork> work = ranks(2);
  const LinkModel slow({{1, kLatency, 0}, {1000, kLatency + 200, 0}});
  StepMessages messages{.hidden = 1, .z = 1, .record = 1};
  EXPECT_NEAR(decode_timeline(work, messages, HeadMode::sliced, slow).step_s,
              kLayers + 2 * kLatency + kHead / 2 + kChoice, 1e-9);
  messages.hidden = 1000;
  EXPECT_NEAR(decode_timeline(work, messages, HeadMode::sliced, slow).step_s,
              (2 * kLayers + kLatency + 200 + kLatency + kHead / 2 + kChoice) / 2, 1e-9);
}

// Rank 1 may begin one latency later than rank 0, and its partner's record takes another: so much is hidden.
TEST(Timeline, MemoryIsProjectedWhileCandidatesTravel) {
  std::vector<RankWork> work = ranks(2);
  const double without = decode_timeline(work, {}, HeadMode::sliced, kLink).step_s;
  work[1].absorb_s = 2 * kLatency;
  EXPECT_NEAR(decode_timeline(work, {}, HeadMode::sliced, kLink).step_s, without, 1e-9);
  work[1].absorb_s = 2 * kLatency + 5;
  EXPECT_NEAR(decode_timeline(work, {}, HeadMode::sliced, kLink).step_s, without + 5, 1e-9);
}

TEST(Timeline, OutputsAreSummedInLogarithmicDepth) {
  StepMessages messages;
  const double plain = decode_timeline(ranks(2), messages, HeadMode::sliced, kLink).step_s;
  messages.combined = true;
  EXPECT_NEAR(decode_timeline(ranks(2), messages, HeadMode::sliced, kLink).step_s, plain,
              1e-9);  // the last rank is merely later by what the first one's outputs travel
  const double many = decode_timeline(ranks(1024), messages, HeadMode::sliced, kLink).step_s;
  EXPECT_GT(many, kLayers + 20 * kLatency);
  EXPECT_LT(many, kLayers + 31 * kLatency);
}

TEST(Timeline, ChunksOfAPromptFillThePipeline) {
  const double seconds = prompt_seconds(ranks(4), {}, HeadMode::sliced, kLink, 10);
  EXPECT_NEAR(seconds, 13 * kLayers + 3 * kLatency + 2 * kLatency + kHead / 4 + 2 * kLatency + kChoice, 1e-9);
}

TEST(Timeline, AThousandRanksCostTenHops) {
  EXPECT_NEAR(decode_timeline(ranks(1024), {}, HeadMode::sliced, kLink).step_s,
              kLayers + 20 * kLatency + kHead / 1024 + kChoice, 1e-9);
}

TEST(LinkModel, InterpolatesAndExtrapolates) {
  const LinkModel link({{8, 1, 0.5}, {1008, 3, 1.5}, {2008, 10, 4.5}});
  EXPECT_DOUBLE_EQ(link.latency_s(0), 1);
  EXPECT_DOUBLE_EQ(link.latency_s(508), 2);
  EXPECT_DOUBLE_EQ(link.gap_s(1508), 3);
  EXPECT_DOUBLE_EQ(link.latency_s(4008), 24);
  EXPECT_NEAR(LinkModel::of(1e-6, 1e9).latency_s(4e6), 1e-6 + 4e-3, 1e-12);
  EXPECT_THROW(LinkModel(std::vector<LinkPoint>()), ConfigError);
  EXPECT_THROW(LinkModel({{8, 1, 1}, {8, 1, 1}}), ConfigError);
  EXPECT_THROW(LinkModel({{8, -1, 1}}), ConfigError);
}

}  // namespace
}  // namespace stagformer::internal
