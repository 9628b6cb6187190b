#include "base/sleep.hpp"

#include <sys/prctl.h>

#include <chrono>
#include <thread>

namespace stagformer::internal {

void sleep_precisely(double seconds) {
  if (seconds <= 0) return;
  const auto end =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(std::chrono::duration<double>(seconds));
  // Timers of an ordinary thread may be late by 50 us to spare wake-ups.
  thread_local const int slack = prctl(PR_SET_TIMERSLACK, 1UL);
  static_cast<void>(slack);
  std::this_thread::sleep_until(end);
}

}  // namespace stagformer::internal
