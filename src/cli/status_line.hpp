// One line at the bottom of a terminal that rewrites itself. Log lines of this process go above it: while it
// is shown the log's sinks are joined by one in front that takes it away and one behind that puts it back.
#pragma once

#include <memory>
#include <string>

namespace stagformer::internal {

class StatusLine {
 public:
  /// Whether stderr is a terminal that such lines can be shown on.
  static bool is_possible();
  /// Whether what goes to stdout may come out on the same terminal.
  static bool shares_stdout();

  StatusLine();
  ~StatusLine();  // leaves no line behind
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  /// One line without control characters, cut to the terminal's width.
  void show(const std::string& text);
  /// Takes the line away until show(): something else is written to the same terminal.
  void hide();

 private:
  struct Sink;
  void draw() const;
  static void erase();

  std::string text_;
  std::shared_ptr<Sink> before_, after_;
};

}  // namespace stagformer::internal
