// How far a batch is: results, tokens a second of all replicas, and what is left.
//
// Results differ in length and the short ones end first, so the mean length of what is there says too little.
// The estimate takes ends for rare events: one in so many tokens, running sequences included
// (rate = sequences that ended by themselves / all tokens so far). A sequence that may have m more tokens is
// then expected to take (1 - exp(-rate m)) / rate of them, or m while none has ended by itself. Their sum
// over what runs and what waits, by the speed of the last minute, is the time that is left.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "pipeline/generation.hpp"

namespace stagformer::internal {

/// Tokens a second from a count that is read now and then.
class RateMeter {
 public:
  explicit RateMeter(double start_s) : start_s_(start_s) { samples_[0] = {start_s, 0}; }
  void count(double now_s, std::int64_t tokens);
  /// Over about the last `window_s` seconds, or since the start.
  double rate(double window_s) const;

 private:
  static constexpr std::size_t kSamples = 64;  // a second apart
  struct Sample {
    double time_s = 0;
    std::int64_t tokens = 0;
  };
  const Sample& sample(std::size_t age) const { return samples_[(newest_ + kSamples - age) % kSamples]; }

  double start_s_;
  std::array<Sample, kSamples> samples_{};
  std::size_t newest_ = 0, known_ = 1;
  Sample now_{start_s_, 0};
};

class Progress {
 public:
  /// done: results that need no work: an earlier run's, refusals.
  Progress(double now_s, int replicas, std::int64_t done)
      : done_(done), all_(done), loads_(static_cast<std::size_t>(replicas)), meter_(now_s) {}

  /// A prompt that is to be run.
  void expect(std::int64_t max_tokens);
  /// Its result. by_itself: it ended before its max_tokens.
  void add_result(std::int64_t max_tokens, std::int64_t tokens, bool by_itself);
  void set_load(int replica, const GenerationLoad& load);
  void count(double now_s);

  /// Tokens that are left to generate, estimated.
  double tokens_left() const;
  double tokens_per_s() const;
  /// None before there is any speed.
  std::optional<double> seconds_left() const;
  /// "120 of 500 results, 812.4 tokens/s, about 3 min to go"
  std::string text() const;

 private:
  std::int64_t generated() const;
  double expected(std::int64_t sequences, std::int64_t max_tokens) const;

  std::int64_t done_, all_;
  std::int64_t open_ = 0, open_tokens_ = 0;  // prompts without a result, and their max_tokens
  std::int64_t finished_ = 0, finished_tokens_ = 0, ends_ = 0;  // of this run; ends: by themselves
  std::vector<GenerationLoad> loads_;                           // of each replica, as last heard of
  RateMeter meter_;
};

/// "42 s", "12 min", "3 h 20 min", "2 days 5 h"
std::string duration_text(double seconds);

}  // namespace stagformer::internal
