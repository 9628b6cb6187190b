// The one order in which the vectors of p sections are summed, whatever ranks host them.
#pragma once

#include <vector>

namespace stagformer::internal {

/// One addition: sum of sections [lo, hi) = sum of [lo, mid) + sum of [mid, hi). Its owner hosts section hi -
/// 1, so only the left part may have to travel. `mid` is different in every node.
struct SumNode {
  int lo = 0, mid = 0, hi = 0;
  int owner = 0;          ///< rank that adds
  int left_owner = 0;     ///< rank that holds the left part
  int parent_owner = -1;  ///< rank that needs this sum, -1 for the whole
  int parent_mid = -1;    ///< the parent's mid, names the message
  int left = -1;          ///< index of the node of the left part, -1 if that is the single section lo
  int right = -1;         ///< likewise, -1 if that is the single section hi - 1
};

/// All additions for `sections` sections, children before parents; section s is on rank s / (sections /
/// ranks). The intervals depend on `sections` alone: node(lo, hi) is cut at mid = lo + (hi - lo + 1) / 2.
std::vector<SumNode> reduction_plan(int sections, int ranks);

}  // namespace stagformer::internal
