#include "comm/transport.hpp"

#include <sched.h>

#include <algorithm>
#include <chrono>

#include "base/phase_clock.hpp"
#include "base/sleep.hpp"
#include "comm/stall.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using Clock = std::chrono::steady_clock;

// Without yielding a waiting rank still gives its core away now and then, so that a busy host cannot starve.
constexpr unsigned kSpinsPerYield = 2000;
// The clock is read once in so many tests.
constexpr unsigned kSpinsPerClock = 16;

/// Seconds of waiting. A process that was stopped and goes on, as all of a suspended job do, has not waited
/// meanwhile: between two looks at most kLeap_s count.
class WaitClock {
 public:
  double waited_s() {
    const auto now = Clock::now();
    waited_s_ += std::min(std::chrono::duration<double>(now - last_).count(), kLeap_s);
    last_ = now;
    return waited_s_;
  }

 private:
  static constexpr double kLeap_s = 1;
  Clock::time_point last_ = Clock::now();
  double waited_s_ = 0;
};

void pause_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

double Transport::now() const {
  return now_seconds();
}

void Transport::sleep(double seconds) {
  sleep_precisely(seconds);
}

void Transport::pause(unsigned spins) {
  if (yield_ || spins % kSpinsPerYield == 0)
    sched_yield();
  else
    pause_core();
}

void Transport::wait(Request request, const WaitSubject& subject) {
  wait_until([this, request] { return test(request); }, subject);
}

void Transport::wait_until(Condition done, const WaitSubject& subject) {
  if (is_done_within(stall_timeout_s_, done)) return;
  throw CommError(stall_text(*this, subject, stall_timeout_s_) +
                  silent_ranks_text(*this, subject, stall_timeout_s_));
}

bool Transport::is_done_within(double timeout_s, Condition done) {
  if (done()) return true;
  WaitClock clock;
  for (unsigned spins = 1; !done(); ++spins) {
    pause(spins);
    if (timeout_s > 0 && spins % kSpinsPerClock == 0 && clock.waited_s() > timeout_s) return false;
  }
  return true;
}

void Transport::learn_hosts() {
  std::vector<std::string> hosts;
  for (const Bytes& name : all_gather(to_bytes(host_name()))) hosts.push_back(to_text(name));
  hosts_ = std::move(hosts);
}

const std::string& Transport::host_of(int rank) const {
  static const std::string unknown;
  return hosts_.empty() ? unknown : hosts_.at(static_cast<std::size_t>(rank));
}

}  // namespace stagformer::internal
