// Lists of whole numbers on a command line.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace stagformer::internal {

/// The parts between commas. Throws UsageError naming the setting for an empty one.
std::vector<std::string> split_list(const char* setting, const std::string& text);

/// "1,2,4": each from 1 to `most`. Throws UsageError naming the setting and the part.
std::vector<std::int64_t> parse_integers(const char* setting, const std::string& text, std::int64_t most);

}  // namespace stagformer::internal
