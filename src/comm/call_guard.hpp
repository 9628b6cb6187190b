// Calls of MPI that wait for other ranks and cannot be watched from inside: start, duplicate, split, end.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

namespace stagformer::internal {

/// Between a last line and the end that it explains: MPICH's launcher drops what it has not passed on by
/// then.
inline constexpr std::chrono::milliseconds kLaunchersTime{200};

/// While it lives, a thread counts the seconds. Where the call has not come back when they are over, the
/// thread writes the error line itself and ends the process with the code for communication, upon which the
/// launcher ends the job. <= 0 seconds: watches nothing.
class CallGuard {
 public:
  /// rank: as in messages, and for the order in which ranks speak: 0 first, and alone if it can.
  CallGuard(const char* call, int rank, double seconds);
  /// The same with another end: what `end` does when the seconds are over, in that thread.
  CallGuard(int rank, double seconds, std::function<void()> end);
  ~CallGuard();
  CallGuard(const CallGuard&) = delete;
  CallGuard& operator=(const CallGuard&) = delete;

 private:
  void watch(int rank, double seconds, const std::function<void()>& end);

  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_back_ = false;
  std::thread thread_;
};

}  // namespace stagformer::internal
