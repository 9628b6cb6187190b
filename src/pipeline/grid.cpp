#include "pipeline/grid.hpp"

#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::string ranks(int n) {
  return std::to_string(n) + (n == 1 ? " rank" : " ranks");
}

Grid grid_with_replicas(int world, int sections, int replicas) {
  if (replicas < 1) throw UsageError("--replicas must be at least 1, not " + std::to_string(replicas));
  if (world % replicas != 0 || sections % (world / replicas) != 0)
    throw ConfigError(ranks(world) + " cannot be cut into " + std::to_string(replicas) +
                      " replicas of a model of " + std::to_string(sections) +
                      " sections: each replica needs a number of ranks that divides " +
                      std::to_string(sections));
  return {world, sections, replicas};
}

}  // namespace

std::string legal_world_sizes(int sections) {
  std::string text;
  for (int n = 1; n < sections; ++n)
    if (sections % n == 0) text += std::to_string(n) + ", ";
  return text + "or a multiple of " + std::to_string(sections);
}

Grid make_grid(int world, int sections, std::optional<int> replicas) {
  if (replicas) return grid_with_replicas(world, sections, *replicas);
  if (world <= sections && sections % world == 0) return {world, sections, 1};
  if (world % sections == 0) return {world, sections, world / sections};
  throw ConfigError("a model of " + std::to_string(sections) + " sections does not fit on " + ranks(world) +
                    "; sizes that fit: " + legal_world_sizes(sections));
}

}  // namespace stagformer::internal
