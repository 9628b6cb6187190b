#include "cli/launcher_terminal.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <string>

namespace stagformer::internal {
namespace {

constexpr int kMostAncestors = 6;

/// The parent of a process of this host; 0 where there is none.
pid_t parent_of(pid_t process) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  for (std::string key; status >> key;)
    if (pid_t parent = 0; key == "PPid:") return status >> parent ? parent : 0;
  return 0;
}

/// Whether it reads from the terminal that is also this process's.
bool reads_from_our_terminal(pid_t process) {
  const std::string path = "/proc/" + std::to_string(process) + "/fd/0";
  const int input = open(path.c_str(), O_RDONLY | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
  if (input < 0) return false;
  const bool ours = tcgetsid(input) == getsid(0);  // -1 for any other terminal or file
  close(input);
  return ours;
}

/// The launcher has the terminal if it is in the foreground there.
bool is_a_launchers(int terminal) {
  const pid_t foreground = tcgetpgrp(terminal);
  pid_t process = getppid();
  for (int i = 0; i < kMostAncestors && process > 1; ++i, process = parent_of(process))
    if (getpgid(process) == foreground && reads_from_our_terminal(process)) return true;
  return false;
}

/// A process in the background is stopped for this unless it ignores the signal.
bool change(int terminal, const termios& settings) {
  const auto handler = std::signal(SIGTTOU, SIG_IGN);
  const bool done = tcsetattr(terminal, TCSADRAIN, &settings) == 0;
  std::signal(SIGTTOU, handler);
  return done;
}

}  // namespace

LauncherTerminal::LauncherTerminal() {
  struct stat input {};
  if (fstat(STDIN_FILENO, &input) != 0 || S_ISCHR(input.st_mode) || S_ISREG(input.st_mode)) return;
  terminal_ = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
  termios now{};
  if (terminal_ < 0 || !is_a_launchers(terminal_) || tcgetattr(terminal_, &now) != 0) return;
  const termios before = now;
  now.c_cc[VINTR] = _POSIX_VDISABLE;
  now.c_cc[VEOL] = kInterruptCharacter;
  if (change(terminal_, now)) before_ = before;
}

LauncherTerminal::~LauncherTerminal() {
  if (before_) change(terminal_, *before_);
  if (terminal_ >= 0) close(terminal_);
}

}  // namespace stagformer::internal
