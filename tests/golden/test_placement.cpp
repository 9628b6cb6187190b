// The promise: the same bits for every number of ranks, threads, chunk sizes, schedules, head modes and
// message timings.
#include <gtest/gtest.h>

#include "support/engine_harness.hpp"
#include "support/golden_file.hpp"
#include "support/rank_world.hpp"

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

  /// Runs on `ranks` ranks (threads, or those of the MPI world) and compares each rank's numbers with one
  /// rank's.
  void expect_same(int ranks, const LocalOptions& options, const EngineRun& run, const std::string& what) {
    if (reference_.empty() || reference_decode_ != run.decode) {
      EngineRun plain;
      plain.decode = run.decode;
      plain.recurrent_after = run.recurrent_after;
      reference_ = run_engine_locally(1, {}, index_, tokens_, targets_, plain);
      reference_decode_ = run.decode;
    }
    const EngineResult& expected = reference_[0];
    for_each_rank(
        ranks,
        [&](Transport& transport) {
          transport.set_yield(true);
          const EngineResult result = run_engine(transport, index_, tokens_, targets_, run);
          for (std::size_t s = 0; s < result.section_outputs.size(); ++s)
            EXPECT_EQ(result.section_outputs[s],
                      expected.section_outputs[static_cast<std::size_t>(result.first_section) + s])
                << what << ": hidden states of section " << result.first_section + static_cast<int>(s)
                << " differ";
          EXPECT_EQ(result.log_probabilities, expected.log_probabilities)
              << what << ": log-probabilities differ";
          EXPECT_EQ(result.chosen, expected.chosen) << what << ": choices differ";
        },
        options);
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
    expect_same(ranks, shuffled, run,
                where + ", chunks of 7, two threads, put-off read-outs, shuffled messages");
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
                         [](const testing::TestParamInfo<std::string>& parameter) {
                           return parameter.param;
                         });

}  // namespace
}  // namespace stagformer::test
