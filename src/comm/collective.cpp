#include "comm/collective.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"

namespace stagformer::internal {
// Ranks counted from the root: number v hangs under v without its lowest bit, and its children are v + 2^k
// for all 2^k below that bit. For n = 6: 0 -> 4, 2, 1; 2 -> 3; 4 -> 5.
TreeBroadcast::TreeBroadcast(Transport& transport, int root, std::size_t capacity, int tag)
    : transport_(transport), root_(root) {
  const int size = transport.size();
  STAG_CHECK(root >= 0 && root < size, root, size);
  const auto rank_of = [&](int number) { return (number + root) % size; };
  const int number = (transport.rank() - root + size) % size;
  const int lowest_bit = number & -number;
  if (number != 0) parent_ = rank_of(number - lowest_bit);
  int step = 1;
  while (step < size) step *= 2;
  if (number != 0) step = lowest_bit;
  for (int k = step / 2; k > 0; k /= 2)
    if (number + k < size) children_.push_back(rank_of(number + k));
  for (Slot& slot : slots_) {
    slot.buffer = AlignedBuffer<std::byte>(capacity);
    if (parent_ >= 0) slot.receive = transport.make_receive(slot.buffer.span(), parent_, tag);
    for (const int child : children_)
      slot.forwards.push_back(transport.make_send(slot.buffer.span(), child, tag));
    repost(slot);
  }
}

TreeBroadcast::~TreeBroadcast() {
  for (Slot& slot : slots_) {
    if (slot.receive >= 0) transport_.release(slot.receive);
    for (const auto forward : slot.forwards) transport_.release(forward);
  }
}

bool TreeBroadcast::has_left(Slot& slot) {
  return std::ranges::all_of(slot.forwards, [this](auto forward) { return transport_.test(forward); });
}

// Only when the slot's forwards are done. Receives are started in the order of the calls.
void TreeBroadcast::repost(Slot& slot) {
  if (slot.receive < 0 || slot.is_posted) return;
  transport_.start_receive(slot.receive);
  slot.is_posted = true;
}

std::span<std::byte> TreeBroadcast::acquire(const WaitSubject& subject) {
  STAG_CHECK(transport_.rank() == root_ && !is_running_, transport_.rank(), root_);
  Slot& next = slots_[1 - current_];
  transport_.wait_until([&] { return has_left(next); }, subject);
  return next.buffer.span();
}

void TreeBroadcast::start(std::size_t bytes, const WaitSubject& subject) {
  STAG_CHECK(!is_running_, root_);
  Slot& next = slots_[1 - current_];
  STAG_CHECK(bytes <= next.buffer.size(), bytes, next.buffer.size());
  if (!next.is_posted) {  // on the root always; elsewhere where its forwards had not left one call ago
    transport_.wait_until([&] { return has_left(next); }, subject);
    repost(next);
  }
  current_ = 1 - current_;
  bytes_ = bytes;
  is_running_ = true;
  test();
}

bool TreeBroadcast::test() {
  Slot& slot = slots_[current_];
  if (is_running_) {
    if (parent_ >= 0) {
      if (!transport_.test(slot.receive)) return false;
      slot.is_posted = false;
      check_message_bytes(transport_, bytes_, transport_.received_bytes(slot.receive), parent_);
    }
    had_data_s_ = transport_.now();
    for (const auto forward : slot.forwards) transport_.start_send(forward, bytes_);
    is_running_ = false;
  }
  // The other slot's data was given up by start(): make it ready for the next call early, so that no sender
  // waits.
  Slot& other = slots_[1 - current_];
  if (!other.is_posted && has_left(other)) repost(other);
  return true;
}

std::span<const std::byte> TreeBroadcast::wait(const WaitSubject& subject) {
  transport_.wait_until([this] { return test(); }, subject);
  return slots_[current_].buffer.span().first(bytes_);
}

bool TreeBroadcast::idle() {
  const bool first = has_left(slots_[0]);
  return has_left(slots_[1]) && first;
}

// In round k a rank holds the records of 2^k ranks from its own on and passes them to the rank 2^k below.
AllGather::AllGather(Transport& transport, std::size_t capacity_per_rank, int tag)
    : transport_(transport),
      ranks_(static_cast<std::size_t>(transport.size())),
      mine_(capacity_per_rank),
      gathered_(ranks_ * capacity_per_rank),
      result_(ranks_ * capacity_per_rank) {
  const auto rank = static_cast<std::size_t>(transport.rank());
  for (std::size_t distance = 1; distance < ranks_; distance *= 2) {
    const std::size_t records = std::min(distance, ranks_ - distance);
    const int above = static_cast<int>((rank + distance) % ranks_);
    const int below = static_cast<int>((rank + ranks_ - distance) % ranks_);
    rounds_.push_back({distance, records, SendChannel(transport, below, tag, 2, records * capacity_per_rank),
                       ReceiveChannel(transport, above, tag, 2, records * capacity_per_rank)});
  }
}

void AllGather::start(std::size_t bytes) {
  STAG_CHECK(is_done_, transport_.rank());
  STAG_CHECK(bytes <= mine_.size(), bytes, mine_.size());
  bytes_ = bytes;
  if (bytes > 0) std::memcpy(gathered_.data(), mine_.data(), bytes);
  round_ = 0;
  is_sent_ = is_done_ = false;
  test();
}

bool AllGather::test() {
  if (is_done_) return true;
  while (round_ < rounds_.size()) {
    if (!is_sent_ && !send_round()) return false;
    if (!take_round()) return false;
    is_sent_ = false;
    ++round_;
  }
  order_by_rank();
  is_done_ = true;
  return true;
}

bool AllGather::send_round() {
  Round& round = rounds_[round_];
  if (!round.send.ready()) return false;
  const std::span<std::byte> slot = round.send.acquire();
  if (bytes_ > 0) std::memcpy(slot.data(), gathered_.data(), round.records * bytes_);
  round.send.post(round.records * bytes_);
  is_sent_ = true;
  return true;
}

bool AllGather::take_round() {
  Round& round = rounds_[round_];
  if (!round.receive.ready()) return false;
  const std::span<const std::byte> message = round.receive.wait({.what = "an all-gather"});
  check_message_bytes(transport_, round.records * bytes_, message.size(), round.receive.peer());
  if (bytes_ > 0)
    std::memcpy(gathered_.data() + round.distance * bytes_, message.data(), round.records * bytes_);
  round.receive.release();
  return true;
}

void AllGather::order_by_rank() {
  if (bytes_ == 0) return;
  const auto rank = static_cast<std::size_t>(transport_.rank());
  const std::size_t upper = (ranks_ - rank) * bytes_;  // records of this rank to the last
  std::memcpy(result_.data() + rank * bytes_, gathered_.data(), upper);
  std::memcpy(result_.data(), gathered_.data() + upper, rank * bytes_);
}

bool AllGather::idle() {
  bool all = true;
  for (Round& round : rounds_) all = round.send.idle() && all;
  return all;
}

// Round by round, so that a stall names the rank that this one waits for.
std::span<const std::byte> AllGather::wait(const WaitSubject& subject) {
  while (!test()) {
    const std::size_t round = round_;
    transport_.wait_until([&] { return test() || round_ != round; },
                          {subject.what, rounds_[round].receive.peer(), subject.step});
  }
  return result_.span().first(ranks_ * bytes_);
}

}  // namespace stagformer::internal
