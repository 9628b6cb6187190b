#include "cli/log.hpp"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

namespace stagformer::internal {

void set_up_log(const std::string& level, int rank, int ranks) {
  auto logger =
      std::make_shared<spdlog::logger>("stagformer", std::make_shared<spdlog::sinks::stderr_sink_st>());
  const std::string who = ranks > 1 && rank > 0 ? " [rank " + std::to_string(rank) + "]" : "";
  logger->set_pattern("[%H:%M:%S] [%l]" + who + " %v");
  auto least = spdlog::level::from_str(level);
  if (rank > 0) least = std::max(least, spdlog::level::warn);
  logger->set_level(least);
  spdlog::set_default_logger(logger);
}

void log_lines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) spdlog::info("{}", line);
}

void print_error(const std::string& message) {
  std::string line = message;
  std::ranges::replace(line, '\n', ' ');
  std::fprintf(stderr, "stagformer: error: %s\n", line.c_str());
  std::fflush(stderr);
}

}  // namespace stagformer::internal
