// The promise: the same bits for every number of ranks, threads, chunk sizes, schedules, head modes and message timings.
#include <gtest/gtest.h>

#include "support/compare.hpp"
#include "support/engine_harness.hpp"
#include "support/golden_file.hpp"

namespace stagformer::test {
namespace {

using namespace internal;

class Placement : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const Golden golden = read_golden(GetParam());
    tokens_.assign(golden.tokens.begin(), golden.tokens.begin() + static_cast<std::ptrdiff_t>(golden.length));
    index_ = read_checkpoint_index(golden_checkpoint(GetParam()));
    targets_ = spread_targets(tokens_, index_.config.vocab_size);
    after_ = golden.recurrent_after;
  }

  void expect_same(int ranks, const LocalOptions& options, const EngineRun& run, const std::string& what) {
    EngineRun plain;
    plain.decode = run.decode;
    plain.recurrent_after = run.recurrent_after;
    if (reference_.empty() || reference_decode_ != run.decode) {
      reference_ = run_engine_locally(1, {}, index_, tokens_, targets_, plain);
      reference_decode_ = run.decode;
    }
    LocalOptions watched = options;
    watched.stall_timeout_s = 60;
    const auto results = run_engine_locally(ranks, watched, index_, tokens_, targets_, run);
    EXPECT_EQ(all_sections(results), all_sections(reference_)) << what << ": hidden states differ";
    for (const EngineResult& result : results) {
      EXPECT_EQ(result.log_probabilities, reference_[0].log_probabilities) << what << ": log-probabilities differ";
      EXPECT_EQ(result.chosen, reference_[0].chosen) << what << ": choices differ";
    }
  }

  std::vector<std::int32_t> tokens_;
  CheckpointIndex index_;
  std::vector<std::vector<std::int32_t>> targets_;
  std::vector<EngineResult> reference_;
  DecodeMode reference_decode_ = DecodeMode::exact;
  std::int64_t after_ = -1;
};

TEST_P(Placement, GivesTheSameBits) {
  const int sections = index_.config.sections.count;
  for (int ranks = 1; ranks <= sections; ++ranks) {
    if (sections % ranks != 0) continue;
    const std::string where = GetParam() + " on " + std::to_string(ranks) + " ranks";
    LocalOptions rendezvous, shuffled;
    rendezvous.rendezvous = true;
    shuffled.random_delay_us = 200;
    shuffled.seed = static_cast<std::uint64_t>(ranks);
    EngineRun run;
    expect_same(ranks, rendezvous, run, where + ", whole text at once, rendezvous");
    run.pass_rows = 7;
    run.lookahead = true;
    run.threads = 2;
    expect_same(ranks, shuffled, run, where + ", chunks of 7, two threads, put-off read-outs, shuffled messages");
    run = {};
    run.pass_rows = 1;
    expect_same(ranks, shuffled, run, where + ", step by step, shuffled messages");
    run.schedule = Schedule::sequential;
    expect_same(ranks, rendezvous, run, where + ", sequential schedule");
    run.schedule = Schedule::staggered;
    run.head = HeadMode::last;
    expect_same(ranks, {}, run, where + ", head on the last rank");
    if (after_ < 0) continue;
    run = {};
    run.decode = DecodeMode::recurrent;
    run.recurrent_after = after_;
    run.pass_rows = 4;
    expect_same(ranks, shuffled, run, where + ", recurrent");
    run.lookahead = true;
    run.head = HeadMode::last;
    expect_same(ranks, rendezvous, run, where + ", recurrent, head last, put-off read-outs");
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Placement, testing::ValuesIn(golden_cases()),
                         [](const testing::TestParamInfo<std::string>& parameter) { return parameter.param; });

}  // namespace
}  // namespace stagformer::test
