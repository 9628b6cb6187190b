// The log: stderr, by spdlog, spoken by rank 0 (other ranks only warn).
#pragma once

#include <string>
#include <vector>

namespace stagformer::internal {

/// level: debug | info | warning | error | off. Ranks other than 0 pass on warnings and errors alone, with
/// their rank.
void set_up_log(const std::string& level, int rank, int ranks);

/// Writes a whole block of lines, each as a log line of level info.
void log_lines(const std::vector<std::string>& lines);

/// The one line of an error: "stagformer: error: ...", newlines in the message made blanks.
void print_error(const std::string& message);

}  // namespace stagformer::internal
