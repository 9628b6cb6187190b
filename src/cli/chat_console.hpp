// The user's end of a conversation: lines from standard input, also while an answer is being written. Ctrl-C
// comes as a signal, or as a character where a launcher stands between (launcher_terminal.hpp); where the
// terminal is another host's it is the launcher's, and the line /stop ends an answer.
#pragma once

#include <deque>
#include <optional>
#include <string>

#include "cli/launcher_terminal.hpp"

namespace stagformer::internal {

class ChatConsole {
 public:
  /// `prompts`: says on stderr when it is the user's turn.
  explicit ChatConsole(bool prompts) : prompts_(prompts) {}

  /// The next line, for which it waits; nothing at the end of the input, and where a signal asks for the end.
  std::optional<std::string> next_line();
  /// Begins an answer: what asks for a stop before does not count.
  void begin_answer();
  /// Asked while an answer is written: Ctrl-C, or a line /stop. Other lines wait for their turn.
  bool stop_wanted();

 private:
  int interrupts() const;
  void cut_lines();
  bool read_more(int wait_ms);
  void prompt() const;

  const bool prompts_;
  const LauncherTerminal terminal_;
  std::string partial_;  // of a line whose end has not come
  std::deque<std::string> lines_;
  bool ended_ = false;
  int typed_interrupts_ = 0;
  int interrupts_ = 0;  // seen so far, of both kinds
};

/// A signal other than SIGINT came: the job is to end.
bool end_signalled();

}  // namespace stagformer::internal
