#include "cli/chat_console.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

#include "cli/signals.hpp"

namespace stagformer::internal {
namespace {

constexpr int kWaitMs = 200;  // a signal that comes just before poll() is seen so much later
constexpr const char* kStop = "/stop";

}  // namespace

bool end_signalled() {
  return signals_received() > interrupts_received();
}

int ChatConsole::interrupts() const {
  return interrupts_received() + typed_interrupts_;
}

/// Ctrl-C takes what was typed in front of it away.
void ChatConsole::cut_lines() {
  const std::string ends = terminal_.is_held() ? std::string{'\n', kInterruptCharacter} : "\n";
  for (std::size_t end; (end = partial_.find_first_of(ends)) != std::string::npos;
       partial_.erase(0, end + 1)) {
    if (partial_[end] != '\n') {
      ++typed_interrupts_;
      continue;
    }
    lines_.push_back(partial_.substr(0, end));
    if (lines_.back().ends_with('\r')) lines_.back().pop_back();
  }
}

void ChatConsole::prompt() const {
  if (!prompts_) return;
  std::fputs("> ", stderr);
  std::fflush(stderr);
}

/// What has come within the time, cut into lines; false where nothing came.
/// poll() before read(): an answer under way must not wait for the user.
bool ChatConsole::read_more(int wait_ms) {
  pollfd input{STDIN_FILENO, POLLIN, 0};
  if (ended_ || poll(&input, 1, wait_ms) <= 0) return false;
  char buffer[4096];
  const ssize_t bytes = read(STDIN_FILENO, buffer, sizeof buffer);
  if (bytes < 0 && (errno == EINTR || errno == EAGAIN)) return false;
  ended_ = bytes <= 0;
  if (!ended_) partial_.append(buffer, static_cast<std::size_t>(bytes));
  if (ended_ && !partial_.empty()) partial_ += '\n';
  cut_lines();
  return true;
}

std::optional<std::string> ChatConsole::next_line() {
  prompt();
  interrupts_ = interrupts();
  while (lines_.empty() && !ended_ && !end_signalled()) {
    read_more(kWaitMs);
    if (interrupts_ == interrupts()) continue;
    // Ctrl-C at the prompt throws the line away, as shells do.
    interrupts_ = interrupts();
    partial_.clear();
    std::fputs("\n(/quit or Ctrl-D ends)\n", stderr);
    prompt();
  }
  if (lines_.empty() || end_signalled()) return std::nullopt;
  std::string line = std::move(lines_.front());
  lines_.pop_front();
  return line;
}

void ChatConsole::begin_answer() {
  interrupts_ = interrupts();
}

bool ChatConsole::stop_wanted() {
  // Lines for the next turns stay in lines_.
  while (read_more(0)) continue;
  const auto stop = std::ranges::find(lines_, kStop);
  if (stop != lines_.end()) {
    lines_.erase(stop);
    return true;
  }
  return interrupts() > interrupts_ || end_signalled();
}

}  // namespace stagformer::internal
