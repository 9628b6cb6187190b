// Sections work at the same time: with a pause put into sections, the timeline shows who waited for whom, and
// that a step's critical path holds one section, not all of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "support/engine_harness.hpp"
#include "support/golden_file.hpp"
#include "support/rank_world.hpp"

namespace stagformer::test {
namespace {

using namespace internal;

constexpr int kSections = 4, kSteps = 16;
constexpr double kPause = 0.03;

/// Spans of all ranks by kind and pass; one host, one clock.
class Timeline {
 public:
  Timeline(Transport& transport, const std::vector<TraceSpan>& mine) {
    Bytes bytes(mine.size() * sizeof(TraceSpan));
    std::memcpy(bytes.data(), mine.data(), bytes.size());
    for (const Bytes& theirs : transport.all_gather(bytes)) {
      std::vector<TraceSpan> spans(theirs.size() / sizeof(TraceSpan));
      std::memcpy(spans.data(), theirs.data(), theirs.size());
      for (const TraceSpan& span : spans) {
        if (span.kind == TraceSpan::Kind::section) sections_[{span.section, span.pass}] = span;
        if (span.kind == TraceSpan::Kind::read_out) {
          double& end = read_out_end_[span.pass];
          end = std::max(end, span.end_s);
        }
      }
    }
  }

  TraceSpan section(int s, std::int64_t pass) const { return sections_.at({s, pass}); }

  /// Median over the steps of f(pass): a stranger on a core may disturb single ones.
  template <typename F>
  double median(const F& f) const {
    std::vector<double> values;
    for (std::int64_t pass = 1; pass < kSteps; ++pass) values.push_back(f(pass));
    std::ranges::nth_element(values, values.begin() + kSteps / 2);
    return values[kSteps / 2];
  }
  double step_seconds() const {
    return median([&](std::int64_t pass) { return read_out_end_.at(pass) - read_out_end_.at(pass - 1); });
  }
  /// From the end of the step before to the start of the section's work.
  double idle_before(int s) const {
    return median([&](std::int64_t pass) { return section(s, pass).begin_s - read_out_end_.at(pass - 1); });
  }

 private:
  std::map<std::pair<int, std::int64_t>, TraceSpan> sections_;
  std::map<std::int64_t, double> read_out_end_;
};

/// Decodes step by step on one rank a section and hands every rank the timeline.
template <typename Check>
void decode(Schedule schedule, const std::vector<SectionDelay>& delays, const Check& check) {
  const Golden golden = read_golden("sections4");
  const CheckpointIndex index = read_checkpoint_index(golden_checkpoint("sections4"));
  const std::vector<std::int32_t> tokens(golden.tokens.begin(), golden.tokens.begin() + kSteps);
  EngineRun run;
  run.pass_rows = 1;
  run.schedule = schedule;
  run.delays = delays;
  run.trace_spans = 4096;
  for_each_rank(kSections, [&](Transport& transport) {
    transport.set_yield(true);
    const EngineResult result = run_engine(transport, index, tokens, spread_targets(tokens, 272), run);
    check(Timeline(transport, result.spans));
  });
}

TEST(Overlap, NobodyWaitsForAPausingSectionBeforeItsOwnWork) {
  for (int slow = 0; slow < kSections; ++slow)
    decode(Schedule::staggered, {{slow, kPause}}, [&](const Timeline& timeline) {
      for (int s = 0; s < kSections; ++s) {
        EXPECT_LT(timeline.idle_before(s), kPause / 2) << "section " << s << " waited before it began";
        if (s == slow) continue;
        const double ahead = timeline.median([&](std::int64_t pass) {
          return timeline.section(slow, pass).end_s - timeline.section(s, pass).end_s;
        });
        EXPECT_GT(ahead, kPause / 2) << "section " << s << " did not finish while section " << slow
                                     << " paused";
      }
      EXPECT_GE(timeline.step_seconds(), kPause);
      EXPECT_LT(timeline.step_seconds(), 2 * kPause);
    });
}

TEST(Overlap, AStepCostsOneSectionNotAll) {
  std::vector<SectionDelay> delays;
  for (int s = 0; s < kSections; ++s) delays.push_back({s, kPause});
  decode(Schedule::staggered, delays, [](const Timeline& timeline) {
    EXPECT_GE(timeline.step_seconds(), kPause);
    EXPECT_LT(timeline.step_seconds(), 2 * kPause) << "the sections' pauses did not overlap";
  });
}

/// The twin: the same measurement tells the ordinary pipeline apart.
TEST(Overlap, TheSequentialScheduleCostsAllSections) {
  std::vector<SectionDelay> delays;
  for (int s = 0; s < kSections; ++s) delays.push_back({s, kPause});
  decode(Schedule::sequential, delays, [](const Timeline& timeline) {
    EXPECT_GE(timeline.step_seconds(), kSections * kPause);
    for (int s = 1; s < kSections; ++s)
      EXPECT_GT(timeline.idle_before(s), (s - 0.5) * kPause) << "section " << s;
  });
}

/// Chunks of a prompt: while a section works on chunk c, the one before works on chunk c + 1.
TEST(Overlap, SectionsWorkOnNeighbouringChunksOfAPrompt) {
  const Golden golden = read_golden("sections4");
  const CheckpointIndex index = read_checkpoint_index(golden_checkpoint("sections4"));
  // Any ids will do: two sequences of the file, one behind the other.
  const std::vector<std::int32_t> tokens(golden.tokens.begin(), golden.tokens.begin() + 2 * kSteps);
  EngineRun run;
  run.pass_rows = 2;
  run.lookahead = true;
  run.trace_spans = 4096;
  for (int s = 0; s < kSections; ++s) run.delays.push_back({s, kPause});
  for_each_rank(kSections, [&](Transport& transport) {
    transport.set_yield(true);
    const EngineResult result = run_engine(transport, index, tokens, spread_targets(tokens, 272), run);
    const Timeline timeline(transport, result.spans);
    const double seconds = timeline.section(kSections - 1, kSteps - 1).end_s - timeline.section(0, 0).begin_s;
    EXPECT_GE(seconds, (kSteps + kSections - 1) * kPause);
    EXPECT_LT(seconds, 2 * kSteps * kPause)
        << "one after another it would take " << kSteps * kSections * kPause;
  });
}

}  // namespace
}  // namespace stagformer::test
