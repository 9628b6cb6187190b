// The prompts of one replica: its part of the first deal, then what its leader gets from rank 0 of the job.
// The leader asks a few steps before slots are free; the other ranks learn of it between two steps, by a
// small broadcast, and only where slots are free and prompts may be left: a plain step has no message of it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "cli/replica_reports.hpp"
#include "comm/collective.hpp"
#include "comm/transport.hpp"
#include "pipeline/generation.hpp"

namespace stagformer::internal {

class PromptShare final : public RequestSource {
 public:
  /// requests: all that are to be run, the same on every rank, and there as long as this is. queue: as it was
  /// before anything was taken.
  PromptShare(Transport& replica, ReplicaReports& reports, const PromptQueue& queue,
              std::vector<const GenerationRequest*> requests);

  /// The first deal of replica `number`.
  std::vector<GenerationRequest> first(int number, int replicas) const;
  /// Every rank, in every step.
  void look_ahead(const GenerationLoad& load);
  Supply take(std::size_t free, bool idle) override;

 private:
  struct Order {  // from the leader to its ranks, sent as it is
    std::int64_t first = 0, count = 0;
    std::int64_t more = 1, stop = 0;
  };
  Order decide(std::int64_t free, bool idle);
  Order share(const Order& order);

  ReplicaReports& reports_;
  const std::int64_t dealt_;  // places of the first deal
  std::vector<const GenerationRequest*> requests_;
  PromptRange reserve_;  // on the leader: given, not begun
  bool more_ = true;
  std::unique_ptr<TreeBroadcast> tree_;
};

}  // namespace stagformer::internal
