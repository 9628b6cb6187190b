#include "cli/prompt_share.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "pipeline/tags.hpp"

namespace stagformer::internal {

PromptShare::PromptShare(Transport& replica, ReplicaReports& reports, const PromptQueue& queue,
                         std::vector<const GenerationRequest*> requests)
    : reports_(reports), dealt_(queue.left_from()), requests_(std::move(requests)) {
  if (replica.size() > 1)
    tree_ = std::make_unique<TreeBroadcast>(replica, 0, sizeof(Order), tag(Tag::prompts));
}

std::vector<GenerationRequest> PromptShare::first(int number, int replicas) const {
  std::vector<GenerationRequest> mine;
  for (std::int64_t place = number; place < dealt_; place += replicas)
    mine.push_back(*requests_[static_cast<std::size_t>(place)]);
  return mine;
}

void PromptShare::look_ahead(const GenerationLoad& load) {
  const std::int64_t wanted = load.free_slots + load.ending;
  if (more_ && reserve_.empty() && wanted > 0 && reports_.leads() && !reports_.is_root())
    reports_.ask(wanted);
}

Supply PromptShare::take(std::size_t free, bool idle) {
  Order order;
  if (reports_.leads()) order = decide(static_cast<std::int64_t>(free), idle);
  if (tree_) order = share(order);
  more_ = order.more != 0;
  Supply supply{{}, more_, order.stop != 0};
  for (std::int64_t place = order.first; place < order.first + order.count; ++place)
    supply.requests.push_back(*requests_[static_cast<std::size_t>(place)]);
  return supply;
}

PromptShare::Order PromptShare::decide(std::int64_t free, bool idle) {
  Order order;
  if (reserve_.empty()) {
    reports_.ask(free);
    const auto range = idle ? reports_.await_answer() : reports_.answer();
    if (range) reserve_ = *range;
    order.more = !range || !range->empty();
    order.stop = idle && !range;
  }
  order.first = reserve_.begin;
  order.count = std::min(free, reserve_.size());
  reserve_.begin += order.count;
  return order;
}

PromptShare::Order PromptShare::share(const Order& order) {
  const WaitSubject subject{"the prompts of its replica", 0, -1};
  Order shared;
  if (reports_.leads()) std::memcpy(tree_->acquire(subject).data(), &order, sizeof order);
  tree_->start(sizeof order, subject);
  std::memcpy(&shared, tree_->wait(subject).data(), sizeof shared);
  return shared;
}

}  // namespace stagformer::internal
