#include "import/sections.hpp"

#include "base/number_list.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

constexpr int kMostLayers = 1 << 16;

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
  std::vector<int> counts;
  std::int64_t total = 0;
  for (const std::int64_t each : parse_integers("layers-per-section", *list, kMostLayers)) {
    counts.push_back(static_cast<int>(each));
    total += each;
  }
  if (total != layers)
    throw UsageError("--layers-per-section: " + *list + " is " + std::to_string(total) +
                     " layers, the model has " + std::to_string(layers));
  if (sections && *sections != static_cast<std::int64_t>(counts.size()))
    throw UsageError("--layers-per-section lists " + std::to_string(counts.size()) +
                     " sections, --sections is " + std::to_string(*sections));
  return counts;
}

}  // namespace stagformer::internal
