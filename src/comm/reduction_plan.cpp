#include "comm/reduction_plan.hpp"

#include "base/check.hpp"

namespace stagformer::internal {
namespace {

// Appends the nodes of [lo, hi) and gives the index of its own, -1 for a single section.
int append_nodes(int lo, int hi, int sections_per_rank, std::vector<SumNode>& plan) {
  if (hi - lo == 1) return -1;
  const int mid = lo + (hi - lo + 1) / 2;
  SumNode node{.lo = lo, .mid = mid, .hi = hi};
  node.owner = (hi - 1) / sections_per_rank;
  node.left_owner = (mid - 1) / sections_per_rank;
  node.left = append_nodes(lo, mid, sections_per_rank, plan);
  node.right = append_nodes(mid, hi, sections_per_rank, plan);
  for (const int child : {node.left, node.right}) {
    if (child < 0) continue;
    plan[static_cast<std::size_t>(child)].parent_owner = node.owner;
    plan[static_cast<std::size_t>(child)].parent_mid = mid;
  }
  plan.push_back(node);
  return static_cast<int>(plan.size()) - 1;
}

}  // namespace

std::vector<SumNode> reduction_plan(int sections, int ranks) {
  STAG_CHECK(ranks > 0 && sections > 0 && sections % ranks == 0, sections, ranks);
  std::vector<SumNode> plan;
  append_nodes(0, sections, sections / ranks, plan);
  return plan;
}

}  // namespace stagformer::internal
