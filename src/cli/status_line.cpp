#include "cli/status_line.hpp"

#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <utility>

namespace stagformer::internal {
namespace {

constexpr std::size_t kUsualWidth = 80;

/// Under mpirun stderr is a pipe to it; launch/run tells how wide the terminal is that mpirun writes to. 0: none.
std::size_t launchers_width() {
  const char* columns = std::getenv("STAGFORMER_TERMINAL");
  return columns ? static_cast<std::size_t>(std::clamp(std::atoi(columns), 0, 1000)) : 0;
}

std::size_t terminal_width() {
  if (const std::size_t width = launchers_width(); width > 0) return width;
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return kUsualWidth;
  return size.ws_col;
}

}  // namespace

/// A sink that does something at each log line and writes nothing.
struct StatusLine::Sink final : spdlog::sinks::sink {
  explicit Sink(std::function<void()> work) : at_line(std::move(work)) {}
  void log(const spdlog::details::log_msg&) override { at_line(); }
  void flush() override {}
  void set_pattern(const std::string&) override {}
  void set_formatter(std::unique_ptr<spdlog::formatter>) override {}
  std::function<void()> at_line;
};

bool StatusLine::is_possible() {
  const char* terminal = std::getenv("TERM");
  const bool is_terminal = isatty(STDERR_FILENO) == 1 || launchers_width() > 0;
  return is_terminal && terminal && std::string_view(terminal) != "dumb";
}

bool StatusLine::shares_stdout() {
  return isatty(STDOUT_FILENO) == 1 || launchers_width() > 0;
}

StatusLine::StatusLine() {
  before_ = std::make_shared<Sink>([this] {
    if (!text_.empty()) erase();
  });
  after_ = std::make_shared<Sink>([this] { draw(); });
  auto& sinks = spdlog::default_logger()->sinks();
  sinks.insert(sinks.begin(), before_);
  sinks.push_back(after_);
}

StatusLine::~StatusLine() {
  hide();
  auto& sinks = spdlog::default_logger()->sinks();
  std::erase(sinks, std::static_pointer_cast<spdlog::sinks::sink>(before_));
  std::erase(sinks, std::static_pointer_cast<spdlog::sinks::sink>(after_));
}

void StatusLine::show(const std::string& text) {
  text_ = text;
  draw();
}

void StatusLine::hide() {
  if (!std::exchange(text_, {}).empty()) erase();
}

/// The last column stays free: some terminals wrap after it.
void StatusLine::draw() const {
  if (text_.empty()) return;
  const std::size_t width = std::min(text_.size(), terminal_width() - 1);
  std::fprintf(stderr, "\r%.*s\033[K", static_cast<int>(width), text_.c_str());
  std::fflush(stderr);
}

void StatusLine::erase() {
  std::fputs("\r\033[K", stderr);
  std::fflush(stderr);
}

}  // namespace stagformer::internal
