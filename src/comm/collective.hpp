// Collectives of the loop: logarithmic depth, persistent requests, nothing waits unless asked to. A call goes
// start(), test() as often as one likes, wait(); every rank of the transport makes the same calls in the same
// order. A fast rank may be one call ahead of a slow one: there are two slots, and messages between two ranks
// keep their order.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "comm/channel.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {

/// One rank's bytes to all others by a binomial tree: the root sends ceil(log2 n) messages, everybody else
/// fewer.
class TreeBroadcast {
 public:
  TreeBroadcast(Transport& transport, int root, std::size_t capacity, int tag);
  ~TreeBroadcast();
  TreeBroadcast(const TreeBroadcast&) = delete;
  TreeBroadcast& operator=(const TreeBroadcast&) = delete;

  /// Root only: the next call's buffer, `capacity` bytes, to be filled before start(). Waits until the call
  /// before the last has left it.
  std::span<std::byte> acquire(const WaitSubject& subject);
  /// Begins a call of `bytes` bytes, the same number on all ranks. The data of the call before is given up.
  void start(std::size_t bytes, const WaitSubject& subject);
  void start(std::size_t bytes) { start(bytes, {.what = "an earlier broadcast"}); }
  /// True once the data is here; forwards it the moment it is. CommError if its size is not what start() was
  /// told.
  bool test();
  /// The data in place, valid until the next start().
  std::span<const std::byte> wait(const WaitSubject& subject);
  /// When this rank had the data of the last call and was about to forward it (Transport::now).
  double had_data_s() const { return had_data_s_; }
  int parent() const { return parent_; }  ///< -1 on the root
  const std::vector<int>& children() const { return children_; }
  /// Everything forwarded has left: to be waited for before the object is destroyed while the others go on.
  bool idle();

 private:
  struct Slot {
    AlignedBuffer<std::byte> buffer;
    Transport::Request receive = -1;           // none on the root
    std::vector<Transport::Request> forwards;  // to children_
    bool is_posted = false;                    // the receive is started and not yet complete
  };
  bool has_left(Slot& slot);
  void repost(Slot& slot);

  Transport& transport_;
  int root_;
  int parent_ = -1;
  std::vector<int> children_;  // the largest subtree first
  std::size_t bytes_ = 0;
  double had_data_s_ = 0;
  std::array<Slot, 2> slots_;
  std::size_t current_ = 1;  // slot of the latest call
  bool is_running_ = false;
};

/// Everyone's record to everyone in ceil(log2 n) messages a rank (Bruck's algorithm), for any number of
/// ranks.
class AllGather {
 public:
  AllGather(Transport& transport, std::size_t capacity_per_rank, int tag);

  /// Where this rank's record is to be written before start().
  std::span<std::byte> mine() { return mine_.span(); }
  /// Begins a call with records of `bytes` bytes, the same number on all ranks.
  void start(std::size_t bytes);
  /// True once all records are here; sends on what has arrived.
  bool test();
  /// All records, that of rank r at r * bytes; valid until the next start().
  std::span<const std::byte> wait(const WaitSubject& subject);
  /// Everything sent has left: to be waited for before the object is destroyed while the others go on.
  bool idle();

 private:
  struct Round {
    std::size_t distance;  // takes from rank + distance, gives to rank - distance
    std::size_t records;   // records a message holds
    SendChannel send;
    ReceiveChannel receive;
  };
  bool send_round();
  bool take_round();
  void order_by_rank();

  Transport& transport_;
  std::size_t ranks_;
  AlignedBuffer<std::byte> mine_;
  AlignedBuffer<std::byte> gathered_;  // record i is that of rank (own + i) mod n
  AlignedBuffer<std::byte> result_;    // by rank
  std::vector<Round> rounds_;
  std::size_t bytes_ = 0;
  std::size_t round_ = 0;
  bool is_sent_ = false;  // this round's message
  bool is_done_ = true;
};

}  // namespace stagformer::internal
