#include "import/sections.hpp"

#include <charconv>

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr int kMostLayers = 1 << 16;

std::vector<int> parse_list(const std::string& text) {
  std::vector<int> counts;
  const char *at = text.data(), *end = at + text.size();
  for (;; ++at) {
    int count = 0;
    const auto [rest, error] = std::from_chars(at, end, count);
    if (error != std::errc() || count < 1 || count > kMostLayers || (rest != end && *rest != ','))
      throw UsageError("--layers-per-section: '" + text + "' is no list of positive numbers such as 10,20");
    counts.push_back(count);
    at = rest;
    if (at == end) return counts;
  }
}

}  // namespace

std::vector<int> cut_layers(std::int64_t layers, const std::optional<std::int64_t>& sections,
                            const std::optional<std::string>& list) {
  if (!list) {
    const std::int64_t count = sections.value_or(1);
    if (count < 1 || count > layers)
      throw UsageError("--sections: " + std::to_string(count) + " sections cannot be made of " +
                       std::to_string(layers) + " layers");
    std::vector<int> counts;
    for (std::int64_t s = 0; s < count; ++s)
      counts.push_back(static_cast<int>(layers / count + (s < layers % count)));
    return counts;
  }
  std::vector<int> counts = parse_list(*list);
  std::int64_t total = 0;
  for (const int each : counts) total += each;
  if (total != layers)
    throw UsageError("--layers-per-section: " + *list + " is " + std::to_string(total) +
                     " layers, the model has " + std::to_string(layers));
  if (sections && *sections != static_cast<std::int64_t>(counts.size()))
    throw UsageError("--layers-per-section lists " + std::to_string(counts.size()) +
                     " sections, --sections is " + std::to_string(*sections));
  return counts;
}

}  // namespace stagformer::internal
