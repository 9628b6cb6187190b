// The terminal that a launcher was started on. The launcher hands its lines to rank 0 and would take Ctrl-C
// for the end of the job; while such an object lives Ctrl-C is a character like others and comes with the
// line.
#pragma once

#include <termios.h>

#include <optional>

namespace stagformer::internal {

/// What Ctrl-C puts at the end of what was typed, in place of a newline.
constexpr char kInterruptCharacter = '\x03';

class LauncherTerminal {
 public:
  /// Does nothing where standard input is no pipe, where this process has no terminal, or where no process
  /// above it reads from that terminal in the foreground: another host, a batch job, input from a file.
  LauncherTerminal();
  /// The terminal is as it was. A killed process leaves it without Ctrl-C: `stty sane`.
  ~LauncherTerminal();
  LauncherTerminal(const LauncherTerminal&) = delete;
  LauncherTerminal& operator=(const LauncherTerminal&) = delete;

  bool is_held() const { return before_.has_value(); }

 private:
  int terminal_ = -1;
  std::optional<termios> before_;
};

}  // namespace stagformer::internal
