#include "comm/turns.hpp"

#include <algorithm>

#include "stagformer/error.hpp"

namespace stagformer::internal {

Turns::Turns(int ranks) : ranks_(static_cast<std::size_t>(ranks)) {
  for (int rank = 0; rank < ranks; ++rank) queue_.insert({0, rank});
}

void Turns::sync(int rank) {
  if (queue_.begin()->first < of(rank).clock || failed_) sleep_until(rank, of(rank).clock);
}

void Turns::sleep_until(int rank, double time) {
  set_wake(rank, time);
  check_progress();
  const int next = queue_.begin()->second;
  if (next != rank && !failed_) {
    of(next).turn.release();
    of(rank).turn.acquire();
  }
  if (failed_) throw CommError(reason_);
  of(rank).clock = std::max(of(rank).clock, of(rank).wakes);
}

void Turns::wake(int rank, double time) {
  if (time < of(rank).wakes) set_wake(rank, std::max(time, of(rank).clock));
}

void Turns::end(int rank) {
  queue_.erase({of(rank).wakes, rank});
  if (queue_.empty()) return;
  check_progress();
  of(queue_.begin()->second).turn.release();
}

void Turns::poison(const std::string& reason) {
  if (!failed_) reason_ = reason;
  failed_ = true;
}

void Turns::set_wake(int rank, double time) {
  queue_.erase({of(rank).wakes, rank});
  of(rank).wakes = time;
  queue_.insert({time, rank});
}

void Turns::check_progress() {
  if (queue_.begin()->first == kNever) poison("all ranks of the simulation wait for each other");
}

}  // namespace stagformer::internal
