// The figures of the progress line: speed, and a time to go that is right where results differ in length.
#include "cli/progress.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace stagformer::test {
namespace {

using namespace internal;

TEST(RateMeter, SpeedIsThatOfTheLastSeconds) {
  RateMeter meter(100);
  EXPECT_EQ(meter.rate(10), 0);
  for (int i = 1; i <= 50; ++i) meter.count(100 + 0.1 * i, 10 * i);
  EXPECT_NEAR(meter.rate(10), 100, 1e-6);
  for (int i = 1; i <= 200; ++i) meter.count(105 + 0.1 * i, 500 + i);
  EXPECT_NEAR(meter.rate(10), 10, 0.2);
  EXPECT_NEAR(meter.rate(1000), 700.0 / 25, 1);
  for (int i = 1; i <= 1000; ++i) meter.count(125 + i, 700);  // more samples than are kept
  EXPECT_EQ(meter.rate(60), 0);
}

/// A replica of `slots` that runs sequences of the given lengths, a token each a tenth of a second.
class Simulation {
 public:
  Simulation(const std::vector<std::int64_t>& lengths, std::int64_t max_tokens, int slots)
      : lengths_(lengths), max_tokens_(max_tokens), slots_(slots), progress_(0, 1, 0) {
    for (std::size_t i = 0; i < lengths.size(); ++i) progress_.expect(max_tokens);
  }

  void step() {
    while (running_.size() < static_cast<std::size_t>(slots_) && next_ < lengths_.size())
      running_.emplace_back(lengths_[next_++], 0);
    for (auto& [length, done] : running_) {
      ++done;
      ++generated_;
      if (done == length) progress_.add_result(max_tokens_, length, length < max_tokens_);
    }
    std::erase_if(running_, [](const auto& sequence) { return sequence.first == sequence.second; });
    GenerationLoad load;
    load.running = static_cast<std::int64_t>(running_.size());
    for (const auto& [length, done] : running_) load.tokens_to_go += max_tokens_ - done;
    load.generated = generated_;
    progress_.set_load(0, load);
    progress_.count(time_s_ += 0.1);
  }

  double left() const {
    std::int64_t all = 0;
    for (const std::int64_t length : lengths_) all += length;
    return static_cast<double>(all - generated_);
  }
  const Progress& progress() const { return progress_; }

 private:
  std::vector<std::int64_t> lengths_;
  std::int64_t max_tokens_;
  int slots_;
  Progress progress_;
  std::vector<std::pair<std::int64_t, std::int64_t>> running_;
  std::size_t next_ = 0;
  std::int64_t generated_ = 0;
  double time_s_ = 0;
};

/// Lengths of sequences that end by themselves once in `mean` tokens.
std::vector<std::int64_t> random_lengths(std::size_t count, double mean, std::int64_t max_tokens,
                                         unsigned seed) {
  std::mt19937_64 random(seed);
  std::geometric_distribution<std::int64_t> ends(1 / mean);
  std::vector<std::int64_t> lengths(count);
  for (std::int64_t& length : lengths) length = std::min(max_tokens, ends(random) + 1);
  return lengths;
}

TEST(Progress, WhereNothingEndsByItselfTheTokensLeftAreExact) {
  Simulation batch(std::vector<std::int64_t>(30, 20), 20, 4);
  for (int step = 0; step < 120; ++step) {
    batch.step();
    EXPECT_DOUBLE_EQ(batch.progress().tokens_left(), batch.left());
  }
  EXPECT_NE(batch.progress().text().find("24 of 30 results, 40.0 tokens/s, about 3 s to go"),
            std::string::npos)
      << batch.progress().text();
}

/// What the estimate is in units of the truth, after so many steps; the mean of some runs, as chance alone
/// makes a tenth in one.
double mean_estimate(double mean_length, int steps) {
  constexpr int kRuns = 16;
  double sum = 0;
  for (unsigned run = 0; run < kRuns; ++run) {
    Simulation batch(random_lengths(400, mean_length, 300, run), 300, 64);
    for (int step = 0; step < steps; ++step) batch.step();
    sum += batch.progress().tokens_left() / batch.left();
  }
  return sum / kRuns;
}

// With 64 of 400 at a time those that end first are the short ones: their mean length is far too little.
TEST(Progress, ShortResultsThatComeFirstDoNotMislead) {
  for (const double mean : {30.0, 200.0})
    for (const int steps : {20, 60, 150}) {
      if (mean == 30 && steps == 150) continue;  // little is left
      EXPECT_NEAR(mean_estimate(mean, steps), 1, 0.08) << mean << ", " << steps;
    }
}

TEST(Progress, CountsWhatAnEarlierRunLeftAndAllReplicas) {
  Progress progress(0, 2, 7);
  EXPECT_FALSE(progress.seconds_left());
  for (int i = 0; i < 4; ++i) progress.expect(100);
  progress.set_load(0, {.running = 1, .tokens_to_go = 50, .generated = 50});
  progress.set_load(1, {.running = 1, .tokens_to_go = 90, .generated = 10});
  progress.count(2);
  EXPECT_DOUBLE_EQ(progress.tokens_left(), 340);
  EXPECT_EQ(progress.text(), "7 of 11 results, 30.0 tokens/s, at most 11 s to go");
  progress.set_load(1, {});  // ended; its tokens stay counted
  progress.add_result(100, 100, false);
  progress.count(4);
  EXPECT_EQ(progress.text().substr(0, 15), "8 of 11 results");
}

TEST(Progress, DurationsAreTexts) {
  EXPECT_EQ(duration_text(0.4), "0 s");
  EXPECT_EQ(duration_text(99), "99 s");
  EXPECT_EQ(duration_text(150), "3 min");
  EXPECT_EQ(duration_text(2 * 3600 + 5 * 60), "2 h 5 min");
  EXPECT_EQ(duration_text(3 * 86400), "3 days 0 h");
}

}  // namespace
}  // namespace stagformer::test
