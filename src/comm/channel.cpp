#include "comm/channel.hpp"

#include <string>

#include "base/check.hpp"
#include "comm/stall.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

std::size_t whole_cache_lines(std::size_t bytes) {
  return (bytes + kCacheLine - 1) / kCacheLine * kCacheLine;
}

std::size_t memory_bytes(int slots, std::size_t stride) {
  STAG_CHECK(slots > 0, slots);
  return static_cast<std::size_t>(slots) * stride;
}

}  // namespace

SendChannel::SendChannel(Transport& transport, int peer, int tag, int slots, std::size_t slot_bytes)
    : transport_(&transport),
      peer_(peer),
      slot_bytes_(slot_bytes),
      stride_(whole_cache_lines(slot_bytes)),
      memory_(memory_bytes(slots, stride_)) {
  for (std::size_t slot = 0; slot < static_cast<std::size_t>(slots); ++slot)
    requests_.push_back(transport.make_send(
        std::span<const std::byte>(memory_.data() + slot * stride_, slot_bytes), peer, tag));
}

SendChannel::~SendChannel() {
  for (const auto request : requests_) transport_->release(request);
}

bool SendChannel::ready() {
  return transport_->test(requests_[next_]);
}

std::span<std::byte> SendChannel::acquire(const WaitSubject& subject) {
  STAG_CHECK(!acquired_, peer_, next_);
  transport_->wait(requests_[next_], subject);
  acquired_ = true;
  return {memory_.data() + next_ * stride_, slot_bytes_};
}

void SendChannel::post(std::size_t bytes) {
  STAG_CHECK(acquired_, peer_, next_);
  STAG_CHECK(bytes <= slot_bytes_, peer_, bytes, slot_bytes_);
  transport_->start_send(requests_[next_], bytes);
  acquired_ = false;
  next_ = (next_ + 1) % requests_.size();
}

bool SendChannel::idle() {
  bool all = true;
  for (const auto request : requests_) all = transport_->test(request) && all;
  return all;
}

ReceiveChannel::ReceiveChannel(Transport& transport, int peer, int tag, int slots, std::size_t slot_bytes)
    : transport_(&transport),
      peer_(peer),
      stride_(whole_cache_lines(slot_bytes)),
      memory_(memory_bytes(slots, stride_)) {
  for (std::size_t slot = 0; slot < static_cast<std::size_t>(slots); ++slot) {
    requests_.push_back(
        transport.make_receive(std::span<std::byte>(memory_.data() + slot * stride_, slot_bytes), peer, tag));
    transport.start_receive(requests_.back());  // in slot order, so messages fill the slots in that order
  }
}

ReceiveChannel::~ReceiveChannel() {
  for (const auto request : requests_) transport_->release(request);
}

bool ReceiveChannel::ready() {
  if (!arrived_) arrived_ = transport_->test(requests_[next_]);
  return arrived_;
}

std::span<const std::byte> ReceiveChannel::wait(const WaitSubject& subject) {
  if (!arrived_) transport_->wait(requests_[next_], subject);
  arrived_ = true;
  return {memory_.data() + next_ * stride_, transport_->received_bytes(requests_[next_])};
}

void ReceiveChannel::release() {
  STAG_CHECK(arrived_, peer_, next_);
  transport_->start_receive(requests_[next_]);
  arrived_ = false;
  next_ = (next_ + 1) % requests_.size();
}

void check_message_bytes(const Transport& transport, std::size_t expected, std::size_t found, int from) {
  if (expected == found || transport.is_dry_run()) return;
  throw CommError(place_text(transport, from) + " sent " + std::to_string(found) + " bytes where " +
                  std::to_string(expected) + " were expected: the ranks disagree");
}

}  // namespace stagformer::internal
