// The line that rewrites itself, on a terminal made up here: what a user would see.
#include "cli/status_line.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <cstdlib>
#include <string>
#include <vector>

namespace stagformer::test {
namespace {

using internal::StatusLine;

/// stderr is a terminal as long as this lives.
class Terminal {
 public:
  Terminal() : master_(posix_openpt(O_RDWR | O_NOCTTY)), stderr_(dup(STDERR_FILENO)) {
    grantpt(master_);
    unlockpt(master_);
    const int slave = open(ptsname(master_), O_RDWR | O_NOCTTY);
    termios plain{};
    tcgetattr(slave, &plain);
    cfmakeraw(&plain);
    tcsetattr(slave, TCSANOW, &plain);
    winsize size{};
    size.ws_col = 40;
    ioctl(slave, TIOCSWINSZ, &size);
    dup2(slave, STDERR_FILENO);
    close(slave);
    setenv("TERM", "xterm", 1);
    auto logger = std::make_shared<spdlog::logger>("test", std::make_shared<spdlog::sinks::stderr_sink_st>());
    logger->set_pattern("%v");
    logger->set_level(spdlog::level::info);
    spdlog::set_default_logger(logger);
  }
  ~Terminal() {
    dup2(stderr_, STDERR_FILENO);
    close(stderr_);
    close(master_);
  }

  /// The lines on the screen after all that was written so far; the last one is where the cursor is.
  std::vector<std::string> screen() {
    fcntl(master_, F_SETFL, O_NONBLOCK);
    char block[4096];
    for (ssize_t got; (got = read(master_, block, sizeof block)) > 0;)
      written_.append(block, static_cast<std::size_t>(got));
    std::vector<std::string> lines(1);
    std::size_t column = 0;
    for (std::size_t i = 0; i < written_.size(); ++i) {
      if (written_[i] == '\n') {
        lines.emplace_back();
        column = 0;
      } else if (written_[i] == '\r') {
        column = 0;
      } else if (written_.compare(i, 3, "\033[K") == 0) {
        lines.back().resize(column);
        i += 2;
      } else {
        lines.back().resize(std::max(lines.back().size(), column + 1));
        lines.back()[column++] = written_[i];
      }
    }
    return lines;
  }

 private:
  int master_, stderr_;
  std::string written_;
};

using Screen = std::vector<std::string>;

TEST(StatusLine, LogLinesGoAboveIt) {
  Terminal terminal;
  ASSERT_TRUE(StatusLine::is_possible());
  spdlog::info("before");
  {
    StatusLine line;
    spdlog::info("nothing is shown yet");
    line.show("1 of 3 results, a longer text");
    line.show("2 of 3 results");
    EXPECT_EQ(terminal.screen(), (Screen{"before", "nothing is shown yet", "2 of 3 results"}));
    spdlog::info("a log line");
    spdlog::debug("one that is not logged");
    EXPECT_EQ(terminal.screen(), (Screen{"before", "nothing is shown yet", "a log line", "2 of 3 results"}));
    line.hide();
    EXPECT_EQ(terminal.screen().back(), "");
    line.show("3 of 3");
  }
  spdlog::info("after");
  EXPECT_EQ(terminal.screen(), (Screen{"before", "nothing is shown yet", "a log line", "after", ""}));
}

TEST(StatusLine, NeverWraps) {
  Terminal terminal;
  StatusLine line;
  line.show(std::string(100, 'x'));
  EXPECT_EQ(terminal.screen(), Screen{std::string(39, 'x')});
}

TEST(StatusLine, OnlyOnTerminalsThatCan) {
  {
    Terminal terminal;
    setenv("TERM", "dumb", 1);
    EXPECT_FALSE(StatusLine::is_possible());
  }
  const int usual = dup(STDERR_FILENO), file = open("/dev/null", O_WRONLY);
  dup2(file, STDERR_FILENO);
  setenv("TERM", "xterm", 1);
  EXPECT_FALSE(StatusLine::is_possible());
  dup2(usual, STDERR_FILENO);
  close(file);
  close(usual);
}

}  // namespace
}  // namespace stagformer::test
