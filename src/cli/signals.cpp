#include "cli/signals.hpp"

#include <atomic>
#include <csignal>

namespace stagformer::internal {
namespace {

std::atomic<bool> signalled{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_signal(int) {
  signalled.store(true, std::memory_order_relaxed);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1}) sigaction(signal, &action, nullptr);
  // A reader that has gone away shows as an error of the write.
  std::signal(SIGPIPE, SIG_IGN);
}

bool stop_signalled() {
  return signalled.load(std::memory_order_relaxed);
}

}  // namespace stagformer::internal
