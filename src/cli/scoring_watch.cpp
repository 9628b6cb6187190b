#include "cli/scoring_watch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "base/phase_clock.hpp"
#include "cli/signals.hpp"
#include "pipeline/agreement.hpp"

namespace stagformer::internal {
namespace {

constexpr double kLineInterval = 5;  // seconds

}  // namespace

ScoringWatch::ScoringWatch(ModelRun& run, std::string unit, std::size_t total)
    : run_(run),
      unit_(std::move(unit)),
      total_(total),
      reports_(run.world(), run.grid(), {.stop_wanted = stop_signalled}),
      next_line_s_(now_seconds() + kLineInterval) {}

void ScoringWatch::step(std::size_t done) {
  if (reports_.step()) run_.engine().request_stop();
  if (!run_.is_root() || now_seconds() < next_line_s_) return;
  next_line_s_ = now_seconds() + kLineInterval;
  spdlog::info("{} of {} {}", std::min(total_, done * static_cast<std::size_t>(run_.grid().replicas)), total_,
               unit_);
}

void ScoringWatch::finish(bool finished) {
  if (!reports_.finish(finished)) throw AgreedError(ExitCode::interrupted, "stopped by a signal");
}

}  // namespace stagformer::internal
