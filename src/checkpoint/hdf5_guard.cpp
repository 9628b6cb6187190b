#include "checkpoint/hdf5_guard.hpp"

#include <dlfcn.h>
#include <execinfo.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstring>
#include <mutex>

#include "stagformer/error.hpp"

#ifndef sigev_notify_thread_id  // glibc before 2.37 has no name for it
#define sigev_notify_thread_id _sigev_un._tid
#endif

namespace stagformer::internal {
namespace {

constexpr std::array kSignals = {SIGSEGV, SIGBUS, SIGFPE, SIGABRT, SIGXCPU};
constexpr int kMostFrames = 64;

// Of the guard that lives in this thread; nullptr where none does.
thread_local const std::string* crash_line = nullptr;
thread_local const std::string* endless_line = nullptr;

std::atomic<bool> is_enabled{false};

std::array<struct sigaction, kSignals.size()> earlier_actions;

bool is_hdf5_running() {
  void* frames[kMostFrames];
  const int count = backtrace(frames, kMostFrames);
  for (int i = 0; i < count; ++i) {
    Dl_info info{};
    if (dladdr(frames[i], &info) != 0 && info.dli_fname && std::strstr(info.dli_fname, "hdf5")) return true;
  }
  return false;
}

/// The signal does what it would have done without us: what caused it happens again, or it is raised again.
void hand_on(int signal) {
  for (std::size_t i = 0; i < kSignals.size(); ++i)
    if (kSignals[i] == signal) sigaction(signal, &earlier_actions[i], nullptr);
  if (signal == SIGABRT || signal == SIGXCPU) raise(signal);
}

void on_signal(int signal) {
  const std::string* line = signal == SIGXCPU ? endless_line : crash_line;
  if (!line || !is_hdf5_running()) return hand_on(signal);
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line->data(), line->size());
  _exit(static_cast<int>(ExitCode::checkpoint));
}

void install() {
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads what it needs, which a signal handler must not
  struct sigaction action {};
  action.sa_handler = on_signal;
  for (std::size_t i = 0; i < kSignals.size(); ++i) sigaction(kSignals[i], &action, &earlier_actions[i]);
}

std::string line_of(const std::string& path, const char* problem) {
  return "stagformer: error: " + path + ": damaged HDF5 file (the HDF5 library " + problem + ")\n";
}

}  // namespace

void Hdf5Guard::enable() {
  static std::once_flag once;
  std::call_once(once, install);
  is_enabled = true;
}

Hdf5Guard::Hdf5Guard(const std::string& path)
    : crashed_(line_of(path, "crashes over it")), endless_(line_of(path, "comes to no end over it")) {
  if (!is_enabled) return;
  crash_line = &crashed_;
  endless_line = &endless_;
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGXCPU;
  event.sigev_notify_thread_id = static_cast<pid_t>(syscall(SYS_gettid));
  has_timer_ = timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer_) == 0;
  itimerspec end{};
  end.it_value.tv_sec = kMostSeconds;
  if (has_timer_) timer_settime(timer_, 0, &end, nullptr);
}

Hdf5Guard::~Hdf5Guard() {
  if (has_timer_) timer_delete(timer_);
  crash_line = endless_line = nullptr;
}

}  // namespace stagformer::internal
