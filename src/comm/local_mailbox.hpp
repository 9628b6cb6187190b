// What other ranks have sent to one rank of a LocalWorld and the receives that wait for it.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <utility>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// State of one send or receive that both ends may see; `done` is set last.
struct LocalRequest {
  std::atomic<bool> done{true};
  std::span<std::byte> target;  ///< receives only
  std::size_t received = 0;     ///< receives only, valid once done
};

/// One rank's mailbox. put(), put_post() and detach_send() are called by the senders' threads, everything
/// else by the owner's. Messages of one sender and tag are taken in the order of their sending, whatever
/// their delays.
class LocalMailbox {
 public:
  using Clock = std::chrono::steady_clock;

  /// A message that can be taken from `arrives` on. Without `send` its bytes are copied now; else they are
  /// read when a receive takes them, which sets `send` done, so that a sender that touches its buffer too
  /// early is found.
  void put(int from, int tag, std::span<const std::byte> bytes, Clock::time_point arrives,
           std::shared_ptr<LocalRequest> send);
  /// The sender's buffer goes away: copies what no receive has taken yet.
  void detach_send(int from, int tag, const LocalRequest* send);
  void put_post(int from, int tag, Bytes bytes, Clock::time_point arrives,
                std::shared_ptr<std::atomic<int>> untaken);

  /// Queues a receive behind those already waiting for the same sender and tag.
  void add_receive(int from, int tag, std::shared_ptr<LocalRequest> receive);
  void cancel_receive(int from, int tag, const LocalRequest* receive);
  /// Copies every message that has arrived into the receive that waits for it. Throws CommError if one is too
  /// long.
  void deliver();
  std::optional<std::pair<int, Bytes>> take_post(int tag);

 private:
  struct Message {
    Bytes copy;
    std::span<const std::byte> bytes;  // of the copy or of the sender's buffer
    Clock::time_point arrives;
    std::shared_ptr<LocalRequest> send;
  };
  struct Lane {
    std::deque<Message> messages;
    std::deque<std::shared_ptr<LocalRequest>> receives;
  };
  struct Post {
    int from;
    Bytes bytes;
    Clock::time_point arrives;
    std::shared_ptr<std::atomic<int>> untaken;
  };
  void deliver_lane(int from, int tag, Lane& lane, Clock::time_point now);

  std::mutex mutex_;
  std::atomic<int> undelivered_{0};            // lets the owner look without the mutex
  std::map<std::pair<int, int>, Lane> lanes_;  // by (sender, tag)
  std::map<int, std::deque<Post>> posts_;      // by tag
  std::map<std::pair<int, int>, Clock::time_point> last_post_;
};

}  // namespace stagformer::internal
