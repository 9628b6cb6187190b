#include "cli/progress.hpp"

#include <algorithm>
#include <cmath>

#include "base/text_table.hpp"

namespace stagformer::internal {
namespace {

constexpr double kSampleInterval = 1;                  // seconds
constexpr double kShownWindow = 10, kLeftWindow = 60;  // seconds

}  // namespace

void RateMeter::count(double now_s, std::int64_t tokens) {
  now_ = {now_s, tokens};
  if (now_s - samples_[newest_].time_s < kSampleInterval) return;
  newest_ = (newest_ + 1) % kSamples;
  known_ = std::min(known_ + 1, kSamples);
  samples_[newest_] = now_;
}

double RateMeter::rate(double window_s) const {
  std::size_t age = 0;
  while (age + 1 < known_ && now_.time_s - sample(age).time_s < window_s) ++age;
  const Sample& from = sample(age);
  const double seconds = now_.time_s - from.time_s;
  return seconds > 0 ? static_cast<double>(now_.tokens - from.tokens) / seconds : 0;
}

void Progress::expect(std::int64_t max_tokens) {
  ++all_;
  ++open_;
  open_tokens_ += max_tokens;
}

void Progress::add_result(std::int64_t max_tokens, std::int64_t tokens, bool by_itself) {
  ++done_;
  --open_;
  open_tokens_ -= max_tokens;
  ++finished_;
  finished_tokens_ += tokens;
  ends_ += by_itself;
}

/// Tokens only grow: a replica that has ended says nothing about them any more.
void Progress::set_load(int replica, const GenerationLoad& load) {
  GenerationLoad& known = loads_[static_cast<std::size_t>(replica)];
  const std::int64_t generated = std::max(known.generated, load.generated);
  known = load;
  known.generated = generated;
}

void Progress::count(double now_s) {
  meter_.count(now_s, generated());
}

/// Results may be ahead of what their replica said last.
std::int64_t Progress::generated() const {
  std::int64_t sum = 0;
  for (const GenerationLoad& load : loads_) sum += load.generated;
  return std::max(sum, finished_tokens_);
}

/// Of so many sequences that may have `max_tokens` more together.
double Progress::expected(std::int64_t sequences, std::int64_t max_tokens) const {
  if (sequences <= 0 || max_tokens <= 0) return 0;
  const auto n = static_cast<double>(sequences), most = static_cast<double>(max_tokens);
  const std::int64_t tokens = generated();
  if (ends_ == 0 || tokens == 0) return most;
  const double rate = static_cast<double>(ends_) / static_cast<double>(tokens);
  return n * (1 - std::exp(-rate * most / n)) / rate;
}

double Progress::tokens_left() const {
  std::int64_t running = 0, to_go = 0;
  for (const GenerationLoad& load : loads_) {
    running += load.running;
    to_go += load.tokens_to_go;
  }
  running = std::min(running, open_);
  const std::int64_t begun = to_go + generated() - finished_tokens_;  // the max_tokens of what runs
  return expected(running, to_go) + expected(open_ - running, open_tokens_ - begun);
}

double Progress::tokens_per_s() const {
  return meter_.rate(kShownWindow);
}

std::optional<double> Progress::seconds_left() const {
  const double rate = meter_.rate(kLeftWindow);
  if (rate <= 0) return std::nullopt;
  return tokens_left() / rate;
}

std::string Progress::text() const {
  std::string text = std::to_string(done_) + " of " + std::to_string(all_) + " results, " +
                     fixed(tokens_per_s(), 1) + " tokens/s";
  if (const auto left = seconds_left())
    text += std::string(finished_ == 0 ? ", at most " : ", about ") + duration_text(*left) + " to go";
  return text;
}

std::string duration_text(double seconds) {
  const auto parts = [](std::int64_t value, std::int64_t unit, const char* large, const char* small) {
    return std::to_string(value / unit) + large + std::to_string(value % unit) + small;
  };
  if (seconds < 100) return std::to_string(std::llround(seconds)) + " s";
  const std::int64_t minutes = std::llround(seconds / 60);
  if (minutes < 100) return std::to_string(minutes) + " min";
  const std::int64_t hours = std::llround(seconds / 3600);
  if (hours < 48) return parts(minutes, 60, " h ", " min");
  return parts(hours, 24, " days ", " h");
}

}  // namespace stagformer::internal
