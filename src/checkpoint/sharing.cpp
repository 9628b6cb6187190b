#include "checkpoint/sharing.hpp"

#include <utility>

#include "checkpoint/schema.hpp"

namespace stagformer::internal {
namespace {

using Links = std::map<std::string, std::string>;

std::int64_t count_below(const CheckpointIndex& index, const std::string& prefix) {
  std::int64_t count = 0;
  for (auto it = index.datasets.lower_bound(prefix);
       it != index.datasets.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it)
    ++count;
  return count;
}

/// Every dataset of `block` is a link to the one of the same name in `target`, and neither has more than the
/// other.
bool is_linked_block(const CheckpointIndex& index, const Links& links, const std::string& block,
                     const std::string& target) {
  const std::string prefix = block + "/";
  std::int64_t found = 0;
  for (auto it = links.lower_bound(prefix);
       it != links.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    if (it->second != target + "/" + it->first.substr(prefix.size())) return false;
    ++found;
  }
  return found > 0 && found == count_below(index, prefix) && found == count_below(index, target + "/");
}

/// One link for the block in place of one for each of its datasets.
void replace_by_block(Links& links, const std::string& block, const std::string& target) {
  const std::string prefix = block + "/";
  auto it = links.lower_bound(prefix);
  while (it != links.end() && it->first.compare(0, prefix.size(), prefix) == 0) it = links.erase(it);
  links.emplace(block, target);
}

}  // namespace

Sharing sharing_of(const CheckpointIndex& index) {
  Sharing sharing;
  std::map<std::pair<int, std::int64_t>, std::string> objects;
  for (const auto& [name, info] : index.datasets) {
    const auto [first, is_new] = objects.emplace(std::pair(info.file, info.offset), name);
    if (is_new)
      sharing.stored.push_back(name);
    else
      sharing.links.emplace(name, first->second);
  }
  sharing.linked_datasets = static_cast<std::int64_t>(sharing.links.size());
  for (const auto& [block, target] : shared_blocks(index.config))
    if (is_linked_block(index, sharing.links, block, target)) replace_by_block(sharing.links, block, target);
  return sharing;
}

}  // namespace stagformer::internal
