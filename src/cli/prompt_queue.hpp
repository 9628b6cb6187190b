// Which replica takes which prompts. Everybody knows the first deal: replica r has the places r, r + R,
// r + 2 R, ... as far as there are slots. What is left is handed out as replicas ask for it.
#pragma once

#include <algorithm>
#include <cstdint>

namespace stagformer::internal {

/// Places [begin, end) in the list of prompts to run.
struct PromptRange {
  std::int64_t begin = 0, end = 0;
  std::int64_t size() const { return end - begin; }
  bool empty() const { return begin == end; }
};

class PromptQueue {
 public:
  PromptQueue() : PromptQueue(0, 1, 0) {}  // nothing to hand out
  PromptQueue(std::int64_t prompts, std::int64_t replicas, std::int64_t slots)
      : prompts_(prompts), replicas_(replicas), next_(std::min(prompts, replicas * slots)) {}

  /// Places below this one belong to the first deal.
  std::int64_t left_from() const { return next_; }

  /// At most `wanted`, and no more than an equal share of what is left: nobody takes the last ones alone.
  /// Empty: none are left.
  PromptRange take(std::int64_t wanted) {
    const std::int64_t share = (prompts_ - next_ + replicas_ - 1) / replicas_;
    const std::int64_t count = std::clamp<std::int64_t>(wanted, std::min<std::int64_t>(share, 1), share);
    next_ += count;
    return {next_ - count, next_};
  }

 private:
  std::int64_t prompts_, replicas_, next_;
};

}  // namespace stagformer::internal
