// Each note just above its threshold and not just below it, from hand-made times.
#include "pipeline/run_notes.hpp"

#include <gtest/gtest.h>

namespace stagformer::internal {
namespace {

double& at(RankUse& rank, Phase phase) {
  return rank.phases[static_cast<std::size_t>(phase)];
}

/// Four sections on four hosts, 10 s each: 8 s of layers, 1 s of head, 1 s of waiting. Nothing to be said.
RunUse healthy() {
  RunUse run;
  run.passes = 1000;
  run.state_bytes = 2048;
  for (int r = 0; r < 4; ++r) {
    RankUse rank;
    rank.host = "n" + std::to_string(r + 1);
    rank.first_section = r;
    rank.threads = 8;
    rank.weight_bytes = 1000;
    at(rank, Phase::feed_forward) = 8;
    at(rank, Phase::head) = 1;
    at(rank, Phase::wait_z) = 1;
    run.ranks.push_back(rank);
  }
  return run;
}

/// A rank waits (for z) so many of its ten seconds and computes the others.
void let_wait(RankUse& rank, double seconds) {
  at(rank, Phase::wait_z) = seconds;
  at(rank, Phase::feed_forward) = 9 - seconds;
}

/// Expects one note that holds all words, or none at all where there are no words.
void expect_note(const RunUse& run, const std::vector<std::string>& words) {
  const std::vector<std::string> notes = run_notes(run);
  ASSERT_EQ(notes.size(), words.empty() ? 0U : 1U) << (notes.empty() ? "" : notes[0]);
  for (const std::string& word : words) EXPECT_NE(notes[0].find(word), std::string::npos) << notes[0];
}

TEST(RunNotes, SaysNothingOfAHealthyRun) {
  expect_note(healthy(), {});
  expect_note({}, {});
}

TEST(RunNotes, SaysNothingOfAShortRun) {
  RunUse run = healthy();
  at(run.ranks[2], Phase::feed_forward) = 12;
  expect_note(run, {"section 2"});
  run.passes = 19;
  expect_note(run, {});
  run.passes = 20;
  for (RankUse& rank : run.ranks)
    for (double& seconds : rank.phases) seconds *= 0.14;  // 1.96 s
  expect_note(run, {});
  for (RankUse& rank : run.ranks)
    for (double& seconds : rank.phases) seconds *= 1.03;
  expect_note(run, {"section 2"});
}

TEST(RunNotes, ASlowSection) {
  RunUse run = healthy();
  run.ranks[3].weight_bytes = 2000;
  at(run.ranks[3], Phase::feed_forward) = 8 * 1.24;
  expect_note(run, {});
  at(run.ranks[3], Phase::feed_forward) = 8 * 1.27;
  expect_note(
      run, {"section 3 (rank 3 on n4) computes 27 % longer than the others, who wait for it 18 % of the time",
            "more threads", "in training"});
  run.chained = true;
  EXPECT_EQ(run_notes(run).at(0).find("in training"), std::string::npos);
}

TEST(RunNotes, ASlowSectionThatIsLittleOfTheTime) {
  RunUse run = healthy();
  for (RankUse& rank : run.ranks) {  // most of the time is the head's
    at(rank, Phase::head) = 8;
    at(rank, Phase::feed_forward) = 1;
  }
  at(run.ranks[1], Phase::feed_forward) = 1.45;
  expect_note(run, {});
  at(run.ranks[1], Phase::feed_forward) = 1.55;
  expect_note(run, {"section 1"});
}

TEST(RunNotes, ASlowHost) {
  RunUse run = healthy();
  at(run.ranks[2], Phase::feed_forward) = 12;
  expect_note(run, {"section 2 (rank 2 on n3) computes 50 % longer", "same work", "host is slower"});
  run.ranks[2].threads = 4;
  expect_note(run, {"section 2", "give it more threads"});
}

TEST(RunNotes, TheLastSectionMayTakeLongerWhereItGuesses) {
  RunUse run = healthy();
  at(run.ranks[3], Phase::feed_forward) = 16;
  run.draft = 4;
  expect_note(run, {});
  run.draft = 0;
  expect_note(run, {"section 3"});
}

TEST(RunNotes, AWholeHead) {
  RunUse run = healthy();
  run.head = HeadMode::last;
  at(run.ranks[3], Phase::head) = 1.5;
  expect_note(run, {});
  at(run.ranks[3], Phase::head) = 1.65;
  expect_note(run, {"rank 3 on n4 spends 15 % of its time in the head", "--head sliced divides it by 4"});
  run.draft = 2;
  expect_note(run, {});
}

TEST(RunNotes, WaitingForMessages) {
  RunUse run = healthy();
  for (RankUse& rank : run.ranks) let_wait(rank, 2.9);
  expect_note(run, {});
  for (RankUse& rank : run.ranks) let_wait(rank, 3.1);
  expect_note(run, {"waits 31 % of its time for messages (memory 0 %, z 31 %, candidates or token 0 %)",
                    "fewer ranks", "more prompts at a time"});
  EXPECT_EQ(run_notes(run).at(0).find("--draft"), std::string::npos);
  EXPECT_EQ(run_notes(run).at(0).find("--head last"), std::string::npos);
  run.can_draft = true;
  run.sequences = 8;
  expect_note(run, {"--draft", "larger --batch"});
}

TEST(RunNotes, OnlyTheBusiestRanksWaitingCounts) {
  RunUse run = healthy();
  for (int r : {0, 1, 3}) let_wait(run.ranks[static_cast<std::size_t>(r)], 2.0);
  expect_note(run, {});  // they wait for rank 2, though not much
}

TEST(RunNotes, AWholeHeadWouldSaveAMessage) {
  RunUse run = healthy();
  for (RankUse& rank : run.ranks) {
    let_wait(rank, 5);
    at(rank, Phase::head) = 0.9;  // 3 x 0.9 s more against 2.5 s less
  }
  EXPECT_EQ(run_notes(run).at(0).find("--head last"), std::string::npos);
  for (RankUse& rank : run.ranks) at(rank, Phase::head) = 0.8;
  expect_note(run, {"--head last"});
}

TEST(RunNotes, ChainedSections) {
  RunUse run = healthy();
  run.chained = true;
  for (RankUse& rank : run.ranks) let_wait(rank, 2.9);
  expect_note(run, {});
  for (RankUse& rank : run.ranks) let_wait(rank, 3.1);
  expect_note(run, {"chained sections work one after another", "31 %"});
  run.chained = false;
  run.schedule = Schedule::sequential;  // as asked
  expect_note(run, {});
}

TEST(RunNotes, SharedCoresComeBeforeWhatTheySpoil) {
  RunUse run = healthy();
  for (RankUse& rank : run.ranks) let_wait(rank, 2.4);
  run.ranks[1].shares_cores = true;
  at(run.ranks[3], Phase::feed_forward) = 16;
  expect_note(run, {"section 3"});
  let_wait(run.ranks[1], 2.6);
  expect_note(run, {"host n2 has more threads than cores, and its ranks wait 26 % of their time"});
}

TEST(RunNotes, MessagesThatDoNotLeave) {
  RunUse run = healthy();
  run.state_bytes = 73728;
  at(run.ranks[1], Phase::wait_send) = 1.1;  // of 11.1 s
  expect_note(run, {});
  at(run.ranks[1], Phase::wait_send) = 1.2;
  expect_note(run,
              {"rank 1 on n2 waits 11 % of its time for earlier messages to leave", "72.0 KiB", "eager"});
}

TEST(RunNotes, AReplicaWithoutWork) {
  RunUse run = healthy();
  for (std::size_t r : {2U, 3U}) {
    run.ranks[r].replica = 1;
    run.ranks[r].first_section -= 2;
    at(run.ranks[r], Phase::other) = 4.2;  // of 14.2 s
  }
  expect_note(run, {});
  at(run.ranks[3], Phase::other) = 10;  // one rank alone is no sign
  expect_note(run, {});
  at(run.ranks[2], Phase::other) = 4.4;
  expect_note(run, {"replica 1 has nothing to do for 31 % of the run, replica 0 for 0 %", "fewer replicas"});
  for (std::size_t r : {0U, 1U}) at(run.ranks[r], Phase::other) = 2;  // all of them: not the prompts
  expect_note(run, {});
}

}  // namespace
}  // namespace stagformer::internal
