// Who runs next in virtual time: the rank that goes on at the earliest time. Handed from thread to thread, so
// that only one of them ever runs and what they share needs no lock.
#pragma once

#include <deque>
#include <limits>
#include <semaphore>
#include <set>
#include <string>
#include <utility>

namespace stagformer::internal {

class Turns {
 public:
  static constexpr double kNever = std::numeric_limits<double>::infinity();

  explicit Turns(int ranks);
  int size() const { return static_cast<int>(ranks_.size()); }
  double clock(int rank) const { return of(rank).clock; }
  void advance(int rank, double seconds) { of(rank).clock += seconds; }

  /// Lets the first rank run.
  void begin() { of(queue_.begin()->second).turn.release(); }
  /// Each thread's first call: waits for its first turn.
  void wait_for_first(int rank) { of(rank).turn.acquire(); }
  /// Lets every rank go on that is behind this one's clock, so that what happens before it has happened.
  void sync(int rank);
  /// This rank goes on at `time`, or earlier where wake() says so. Throws CommError where nobody goes on.
  void sleep_until(int rank, double time);
  /// Something that a sleeping rank may wait for happens at `time`.
  void wake(int rank, double time);
  /// The rank's thread ends.
  void end(int rank);

  /// All ranks' turns throw a CommError with this reason from now on. The first reason stays.
  void poison(const std::string& reason);

 private:
  struct Rank {
    double clock = 0, wakes = 0;
    std::binary_semaphore turn{0};
  };
  Rank& of(int rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  const Rank& of(int rank) const { return ranks_[static_cast<std::size_t>(rank)]; }
  void set_wake(int rank, double time);
  void check_progress();

  std::deque<Rank> ranks_;
  std::set<std::pair<double, int>> queue_;  // when each rank goes on
  bool failed_ = false;
  std::string reason_;
};

}  // namespace stagformer::internal
