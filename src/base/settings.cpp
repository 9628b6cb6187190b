#include "base/settings.hpp"

#include <charconv>
#include <cmath>

#include "stagformer/error.hpp"

namespace stagformer::internal {

std::int64_t parse_bytes(const char* setting, const std::string& text) {
  const std::string problem =
      "--" + std::string(setting) + ": '" + text + "' is no number of bytes (write 8589934592, 8G or 512M)";
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || !(value > 0)) throw UsageError(problem);
  std::string unit(rest, end);
  for (const char* ending : {"iB", "B"})
    if (unit.size() > std::string(ending).size() - 1 && unit.ends_with(ending)) {
      unit.resize(unit.size() - std::string(ending).size());
      break;
    }
  const std::string units = "KMGTP";
  double factor = 1;
  if (!unit.empty()) {
    const std::size_t power =
        unit.size() == 1 ? units.find(static_cast<char>(std::toupper(unit[0]))) : std::string::npos;
    if (power == std::string::npos) throw UsageError(problem);
    factor = std::pow(1024.0, static_cast<double>(power + 1));
  }
  if (value * factor >= 9e18) throw UsageError(problem);
  return static_cast<std::int64_t>(value * factor);
}

}  // namespace stagformer::internal
