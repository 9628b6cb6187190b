#include "base/number_list.hpp"

#include <algorithm>
#include <charconv>

#include "stagformer/error.hpp"

namespace stagformer::internal {

std::vector<std::string> split_list(const char* setting, const std::string& text) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    if (parts.back().empty())
      throw UsageError("--" + std::string(setting) + ": '" + text + "' is no list of values (write 1,2,4)");
    begin = end + 1;
  }
  return parts;
}

std::vector<std::int64_t> parse_integers(const char* setting, const std::string& text, std::int64_t most) {
  std::vector<std::int64_t> values;
  for (const std::string& part : split_list(setting, text)) {
    std::int64_t value = 0;
    const char* end = part.data() + part.size();
    const auto [rest, error] = std::from_chars(part.data(), end, value);
    if (error != std::errc() || rest != end || value < 1 || value > most)
      throw UsageError("--" + std::string(setting) + ": '" + part + "' is no number from 1 to " +
                       std::to_string(most) + (part == text ? "" : " (in '" + text + "')"));
    values.push_back(value);
  }
  return values;
}

}  // namespace stagformer::internal
