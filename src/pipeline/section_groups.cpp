#include "pipeline/section_groups.hpp"

#include <algorithm>

#include "model/section.hpp"

namespace stagformer::internal {

bool step_runs_beside(const ModelConfig& config, const EngineOptions& options, int section) {
  return options.schedule == Schedule::staggered && options.delays.empty() &&
         config.sections.links[static_cast<std::size_t>(section - 1)] == Link::staggered &&
         (!config.has_memory(section) || config.sections.cross_attention.lag > 0);
}

std::vector<SectionGroup> group_sections(const RankModel& model, const EngineOptions& options) {
  std::vector<SectionGroup> groups;
  const RankPart& part = model.part();
  for (int s = part.first_section; s < part.first_section + part.sections; ++s) {
    const bool joins = !groups.empty() && step_runs_beside(model.config(), options, s) &&
                       same_weights(model.section(s - 1), model.section(s));
    if (joins)
      ++groups.back().count;
    else
      groups.push_back({static_cast<std::size_t>(s - part.first_section), 1});
  }
  return groups;
}

std::int64_t largest(const std::vector<SectionGroup>& groups) {
  std::int64_t count = 1;
  for (const SectionGroup& group : groups) count = std::max(count, static_cast<std::int64_t>(group.count));
  return count;
}

}  // namespace stagformer::internal
