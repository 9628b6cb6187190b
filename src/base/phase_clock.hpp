// Where the time of a rank goes: one running phase at a time, switched by hand. No allocation, no lock.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace stagformer::internal {

enum class Phase : std::uint8_t {
  other,
  embedding,
  self_attention,
  cross_attention,
  memory_projection,
  feed_forward,
  head,
  sampling,
  wait_input,       ///< a chained (or sequential) section waits for this position's upstream output
  wait_memory,      ///< a staggered section waits for the previous positions' upstream output
  wait_z,           ///< the read-out waits for z (or for the sections' outputs it is summed from)
  wait_candidates,  ///< the read-out waits for the other ranks' candidates (or the chosen token)
  wait_send,        ///< a send slot is still in flight
  count_
};
inline constexpr std::size_t kPhases = static_cast<std::size_t>(Phase::count_);

const char* name_of(Phase phase);

inline double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class PhaseClock {
 public:
  using Seconds = std::array<double, kPhases>;

  /// Ends the running phase and starts another; returns the phase that ran.
  Phase enter(Phase phase) {
    const double now = now_seconds();
    seconds_[static_cast<std::size_t>(running_)] += now - since_;
    since_ = now;
    const Phase before = running_;
    running_ = phase;
    return before;
  }
  /// Forgets all that was counted; the running phase goes on from now.
  void reset() {
    seconds_.fill(0);
    since_ = now_seconds();
  }
  const Seconds& seconds() const { return seconds_; }

 private:
  Seconds seconds_{};
  Phase running_ = Phase::other;
  double since_ = now_seconds();
};

/// Enters a phase for a scope and returns to the one before; without a clock it does nothing.
class PhaseScope {
 public:
  PhaseScope(PhaseClock& clock, Phase phase) : PhaseScope(&clock, phase) {}
  PhaseScope(PhaseClock* clock, Phase phase)
      : clock_(clock), before_(clock ? clock->enter(phase) : Phase::other) {}
  ~PhaseScope() {
    if (clock_) clock_->enter(before_);
  }
  PhaseScope(const PhaseScope&) = delete;
  PhaseScope& operator=(const PhaseScope&) = delete;

 private:
  PhaseClock* clock_;
  Phase before_;
};

}  // namespace stagformer::internal
