// The user's end of a conversation: lines from standard input, also while an answer is being written. Under a
// launcher standard input is a pipe, and Ctrl-C is the launcher's: there the line /stop ends an answer.
#pragma once

#include <deque>
#include <optional>
#include <string>

namespace stagformer::internal {

class ChatConsole {
 public:
  /// `prompts`: says on stderr when it is the user's turn.
  explicit ChatConsole(bool prompts) : prompts_(prompts) {}

  /// The next line, for which it waits; nothing at the end of the input, and where a signal asks for the end.
  std::optional<std::string> next_line();
  /// Begins an answer: what asks for a stop before does not count.
  void begin_answer();
  /// Asked while an answer is written: SIGINT, or a line /stop. Other lines wait for their turn.
  bool stop_wanted();

 private:
  bool read_more(int wait_ms);
  void prompt() const;

  const bool prompts_;
  std::string partial_;  // of a line whose end has not come
  std::deque<std::string> lines_;
  bool ended_ = false;
  int interrupts_ = 0;  // seen so far
};

/// A signal other than SIGINT came: the job is to end.
bool end_signalled();

}  // namespace stagformer::internal
