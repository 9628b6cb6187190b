#include "cli/signals.hpp"

#include <atomic>
#include <csignal>

namespace stagformer::internal {
namespace {

constexpr int kStopSignals[] = {SIGTERM, SIGINT, SIGUSR1};
std::atomic<int> signals{0}, interrupts{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void on_signal(int signal) {
  if (signal == SIGINT) interrupts.fetch_add(1, std::memory_order_relaxed);
  signals.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  for (const int signal : kStopSignals) sigaction(signal, &action, nullptr);
  // A reader that has gone away and a limit on file sizes show as errors of the write.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void restore_default_signals() {
  for (const int signal : kStopSignals) std::signal(signal, SIG_DFL);
}

int signals_received() {
  return signals.load(std::memory_order_relaxed);
}

int interrupts_received() {
  return interrupts.load(std::memory_order_relaxed);
}

bool stop_signalled() {
  return signals_received() > 0;
}

}  // namespace stagformer::internal
