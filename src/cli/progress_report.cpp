#include "cli/progress_report.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "base/phase_clock.hpp"

namespace stagformer::internal {
namespace {

constexpr double kLineInterval = 0.25;                       // seconds
constexpr double kFirstInterval = 5, kLongestInterval = 60;  // of log lines, each twice the one before

}  // namespace

ProgressReport::ProgressReport(int replicas, std::int64_t done)
    : progress_(now_seconds(), replicas, done),
      is_logged_(spdlog::should_log(spdlog::level::info)),
      stdout_is_terminal_(StatusLine::shares_stdout()),
      interval_s_(kFirstInterval),
      next_s_(now_seconds() + kFirstInterval) {
  if (!is_logged_ || !StatusLine::is_possible()) return;
  line_.emplace();
  next_s_ = 0;
}

void ProgressReport::tick() {
  const double now = now_seconds();
  progress_.count(now);
  if (!is_logged_ || now < next_s_) return;
  if (line_) {
    line_->show(progress_.text());
    next_s_ = now + kLineInterval;
    return;
  }
  spdlog::info("{}", progress_.text());
  interval_s_ = std::min(2 * interval_s_, kLongestInterval);
  next_s_ = now + interval_s_;
}

void ProgressReport::make_way() {
  if (!line_ || !stdout_is_terminal_) return;
  line_->hide();
  next_s_ = 0;
}

}  // namespace stagformer::internal
