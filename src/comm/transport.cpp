#include "comm/transport.hpp"

#include <sched.h>

#include <chrono>
#include <sstream>

#include "base/phase_clock.hpp"
#include "base/sleep.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

using Clock = std::chrono::steady_clock;

// Without yielding a waiting rank still gives its core away now and then, so that a busy host cannot starve.
constexpr unsigned kSpinsPerYield = 2000;
// The clock is read once in so many tests.
constexpr unsigned kSpinsPerClock = 16;

void pause_core() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

std::string stall_message(const Transport& transport, const WaitSubject& subject, double timeout_s) {
  std::ostringstream out;
  out << "host " << transport.host_name() << ": waited " << timeout_s << " s for " << subject.what;
  if (subject.peer >= 0) out << " from rank " << transport.rank_in_job(subject.peer);
  if (subject.step >= 0) out << " at step " << subject.step;
  out << " (--stall-timeout)";
  return out.str();
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
  wait_until(done, subject, stall_timeout_s_);
}

void Transport::wait_until(Condition done, const WaitSubject& subject, double timeout_s) {
  if (done()) return;
  const auto begin = Clock::now();
  const auto timeout = std::chrono::duration<double>(timeout_s);
  for (unsigned spins = 1; !done(); ++spins) {
    pause(spins);
    if (timeout_s > 0 && spins % kSpinsPerClock == 0 && Clock::now() - begin > timeout)
      throw CommError(stall_message(*this, subject, timeout_s));
  }
}

}  // namespace stagformer::internal
