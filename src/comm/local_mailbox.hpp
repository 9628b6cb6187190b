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

/// One rank's mailbox. put() and put_post() are called by any thread, everything else by the owner's alone.
/// Messages of one sender and tag are taken in the order of their sending, whatever their delays.
class LocalMailbox {
 public:
  using Clock = std::chrono::steady_clock;

  /// Copies a message in; it can be taken from `arrives` on. `send` is set done when a receive takes it (may
  /// be null).
  void put(int from, int tag, std::span<const std::byte> bytes, Clock::time_point arrives,
           std::shared_ptr<LocalRequest> send);
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
    Bytes bytes;
    Clock::time_point arrives;
    std::shared_ptr<LocalRequest> send;
  };
  struct Lane {
    std::deque<Message> messages;
    std::deque<std::shared_ptr<LocalRequest>> receives;
    Clock::time_point last_arrival{};
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
