#include "comm/local_mailbox.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include "stagformer/error.hpp"

namespace stagformer::internal {

void LocalMailbox::put(int from, int tag, std::span<const std::byte> bytes, Clock::time_point arrives,
                       std::shared_ptr<LocalRequest> send) {
  Message message{.copy = {}, .bytes = bytes, .arrives = arrives, .send = std::move(send)};
  if (!message.send) {
    message.copy.assign(bytes.begin(), bytes.end());
    message.bytes = message.copy;  // moving the message keeps the copy where it is
  }
  const std::lock_guard lock(mutex_);
  lanes_[{from, tag}].messages.push_back(std::move(message));
  undelivered_.fetch_add(1, std::memory_order_relaxed);
}

void LocalMailbox::detach_send(int from, int tag, const LocalRequest* send) {
  const std::lock_guard lock(mutex_);
  for (Message& waiting : lanes_[{from, tag}].messages) {
    if (waiting.send.get() != send) continue;
    waiting.copy.assign(waiting.bytes.begin(), waiting.bytes.end());
    waiting.bytes = waiting.copy;
    waiting.send.reset();
  }
}

void LocalMailbox::put_post(int from, int tag, Bytes bytes, Clock::time_point arrives,
                            std::shared_ptr<std::atomic<int>> untaken) {
  const std::lock_guard lock(mutex_);
  Clock::time_point& last = last_post_[{from, tag}];
  last = std::max(last, arrives);
  posts_[tag].push_back({from, std::move(bytes), last, std::move(untaken)});
}

void LocalMailbox::add_receive(int from, int tag, std::shared_ptr<LocalRequest> receive) {
  const std::lock_guard lock(mutex_);
  lanes_[{from, tag}].receives.push_back(std::move(receive));
}

void LocalMailbox::cancel_receive(int from, int tag, const LocalRequest* receive) {
  const std::lock_guard lock(mutex_);
  std::erase_if(lanes_[{from, tag}].receives,
                [receive](const auto& waiting) { return waiting.get() == receive; });
}

void LocalMailbox::deliver() {
  if (undelivered_.load(std::memory_order_relaxed) == 0) return;
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  for (auto& [key, lane] : lanes_) deliver_lane(key.first, key.second, lane, now);
}

void LocalMailbox::deliver_lane(int from, int tag, Lane& lane, Clock::time_point now) {
  while (!lane.messages.empty() && !lane.receives.empty() && lane.messages.front().arrives <= now) {
    const Message message = std::move(lane.messages.front());
    const auto receive = std::move(lane.receives.front());
    lane.messages.pop_front();
    lane.receives.pop_front();
    undelivered_.fetch_sub(1, std::memory_order_relaxed);
    if (message.bytes.size() > receive->target.size())
      throw CommError("message of " + std::to_string(message.bytes.size()) + " bytes from rank " +
                      std::to_string(from) + " with tag " + std::to_string(tag) + " into a buffer of " +
                      std::to_string(receive->target.size()));
    if (!message.bytes.empty())
      std::memcpy(receive->target.data(), message.bytes.data(), message.bytes.size());
    receive->received = message.bytes.size();
    receive->done.store(true, std::memory_order_release);
    if (message.send) message.send->done.store(true, std::memory_order_release);
  }
}

std::optional<std::pair<int, Bytes>> LocalMailbox::take_post(int tag) {
  const auto now = Clock::now();
  const std::lock_guard lock(mutex_);
  auto& waiting = posts_[tag];
  const auto ready =
      std::ranges::min_element(waiting, {}, &Post::arrives);  // the first of those that arrive together
  if (ready == waiting.end() || ready->arrives > now) return std::nullopt;
  std::pair<int, Bytes> taken(ready->from, std::move(ready->bytes));
  ready->untaken->fetch_sub(1, std::memory_order_release);
  waiting.erase(ready);
  return taken;
}

}  // namespace stagformer::internal
