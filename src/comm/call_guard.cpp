#include "comm/call_guard.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "comm/host_name.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

// All ranks notice at about the same time; the first one that ends takes the others with it, which a launcher
// lets live for two seconds more.
constexpr double kHeadStart_s = 4, kTurn_s = 0.05, kSlice_s = 0.05;

void end_process(const char* call, int rank, double seconds) {
  std::fprintf(
      stderr, "stagformer: error: rank %d on host %s: waited %g s in %s for another rank (--stall-timeout)\n",
      rank, this_host_name().c_str(), seconds, call);
  std::fflush(stderr);
  std::this_thread::sleep_for(kLaunchersTime);
  std::_Exit(static_cast<int>(ExitCode::communication));
}

}  // namespace

CallGuard::CallGuard(const char* call, int rank, double seconds)
    : CallGuard(rank, seconds, [call, rank, seconds] { end_process(call, rank, seconds); }) {}

CallGuard::CallGuard(int rank, double seconds, std::function<void()> end) {
  if (seconds > 0)
    thread_ = std::thread([this, rank, seconds, end = std::move(end)] { watch(rank, seconds, end); });
}

CallGuard::~CallGuard() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    is_back_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void CallGuard::watch(int rank, double seconds, const std::function<void()>& end) {
  const double turn = rank > 0 ? kHeadStart_s + kTurn_s * std::min(rank, 40) : 0;
  std::unique_lock lock(mutex_);
  // In slices: the time that this process itself is stopped counts as one.
  for (double left = seconds + turn; left > 0; left -= kSlice_s)
    if (changed_.wait_for(lock, std::chrono::duration<double>(kSlice_s), [this] { return is_back_; })) return;
  end();
}

}  // namespace stagformer::internal
