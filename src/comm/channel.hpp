// One-way streams of messages between two ranks: slots of memory with their persistent requests, made once.
// Sends should be idle() when their channel is destroyed: one that cannot leave within seconds is dropped. A
// new channel between the same ranks with the same tag needs a barrier between the old one's end and its own
// first message, which the old slots would take.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "comm/transport.hpp"

namespace stagformer::internal {

/// The sending end: acquire() a slot, fill it, post() it; slots go round. The transport must outlive the
/// channel.
class SendChannel {
 public:
  SendChannel(Transport& transport, int peer, int tag, int slots, std::size_t slot_bytes);
  ~SendChannel();
  SendChannel(SendChannel&&) noexcept = default;
  SendChannel& operator=(SendChannel&&) = delete;

  /// The next slot is free: acquire() will not wait.
  bool ready();
  /// The next slot, 64-byte aligned, once its earlier send is done. To be followed by post().
  std::span<std::byte> acquire(const WaitSubject& subject);
  std::span<std::byte> acquire() { return acquire({.what = "a free send slot", .peer = peer_}); }
  /// Starts sending the first `bytes` bytes of the acquired slot, which must not be touched any more.
  void post(std::size_t bytes);
  /// Everything that was posted has left; lets it move.
  bool idle();
  int peer() const { return peer_; }

 private:
  Transport* transport_;
  int peer_;
  std::size_t slot_bytes_;  // of a message
  std::size_t stride_;      // between slots: slot_bytes_ rounded up to cache lines
  AlignedBuffer<std::byte> memory_;
  std::vector<Transport::Request> requests_;  // one a slot
  std::size_t next_ = 0;
  bool acquired_ = false;
};

/// The receiving end: all slots are posted from the beginning. wait() for a message, read it in place,
/// release() it.
class ReceiveChannel {
 public:
  ReceiveChannel(Transport& transport, int peer, int tag, int slots, std::size_t slot_bytes);
  ~ReceiveChannel();
  ReceiveChannel(ReceiveChannel&&) noexcept = default;
  ReceiveChannel& operator=(ReceiveChannel&&) = delete;

  /// The next message has arrived: wait() will not wait. Lets messages move.
  bool ready();
  /// The next message in its slot, valid until release(); the same one again until then.
  std::span<const std::byte> wait(const WaitSubject& subject);
  /// Gives the slot back for a later message.
  void release();
  int peer() const { return peer_; }

 private:
  Transport* transport_;
  int peer_;
  std::size_t stride_;
  AlignedBuffer<std::byte> memory_;
  std::vector<Transport::Request> requests_;  // one a slot, all started but the one being read
  std::size_t next_ = 0;
  bool arrived_ = false;
};

/// CommError where a message has another size than this rank expects, which means that the ranks disagree.
void check_message_bytes(const Transport& transport, std::size_t expected, std::size_t found, int from);

}  // namespace stagformer::internal
