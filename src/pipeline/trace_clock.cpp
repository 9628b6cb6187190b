#include "pipeline/trace_clock.hpp"

#include <algorithm>
#include <cmath>

#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

constexpr int kRoundTrips = 20;

/// Rank 0's part of one rank's round trips: answers each question with its clock.
void answer_clock(Transport& world, int peer) {
  std::byte question{};
  double clock = 0;
  const std::span<std::byte> clock_bytes = std::as_writable_bytes(std::span(&clock, 1));
  const auto receive = world.make_receive(std::span(&question, 1), peer, tag(Tag::clock_question));
  const auto send = world.make_send(clock_bytes, peer, tag(Tag::clock_answer));
  for (int i = 0; i < kRoundTrips; ++i) {
    world.start_receive(receive);
    world.wait(receive, {"a question for the clock", peer});
    clock = world.now();
    world.start_send(send, clock_bytes.size());
    world.wait(send, {"an answer with the clock to leave", peer});
  }
  world.release(receive);
  world.release(send);
}

ClockSample ask_clock(Transport& world) {
  std::byte question{};
  double clock = 0, best_trip = 1e9;
  ClockSample best;
  const std::span<std::byte> clock_bytes = std::as_writable_bytes(std::span(&clock, 1));
  const auto send = world.make_send(std::span(&question, 1), 0, tag(Tag::clock_question));
  const auto receive = world.make_receive(clock_bytes, 0, tag(Tag::clock_answer));
  for (int i = 0; i < kRoundTrips; ++i) {
    const double before = world.now();
    world.start_receive(receive);
    world.start_send(send, 1);
    world.wait(send, {"a question for the clock to leave", 0});
    world.wait(receive, {"an answer with the clock", 0});
    const double after = world.now(), middle = 0.5 * (before + after);
    if (after - before >= best_trip) continue;
    best_trip = after - before;
    best = {middle, clock - middle, 0.5 * best_trip};
  }
  world.release(send);
  world.release(receive);
  return best;
}

}  // namespace

ClockSample sample_clock(Transport& world) {
  ClockSample sample{.at_s = world.now()};
  for (int rank = 1; rank < world.size(); ++rank) {
    if (world.rank() == 0) answer_clock(world, rank);
    if (world.rank() == rank) sample = ask_clock(world);
  }
  const bool shared = !world.host_of(0).empty() && world.host_of(0) == world.host_name();
  if (shared && std::abs(sample.offset_s) <= sample.error_s) return {.at_s = sample.at_s};
  return sample;
}

void TraceClock::measure(Transport& world) {
  add(sample_clock(world));
}

void TraceClock::add(const ClockSample& sample) {
  (first_ ? last_ : first_) = sample;
}

bool TraceClock::drifts() const {
  return last_ && last_->at_s > first_->at_s &&
         std::abs(last_->offset_s - first_->offset_s) > last_->error_s + first_->error_s;
}

double TraceClock::on_rank_0(double own_s) const {
  if (!first_) return own_s;
  if (drifts()) {
    const double way = (own_s - first_->at_s) / (last_->at_s - first_->at_s);
    return own_s + first_->offset_s + way * (last_->offset_s - first_->offset_s);
  }
  const bool last_is_better = last_ && last_->error_s < first_->error_s;
  return own_s + (last_is_better ? last_ : first_)->offset_s;
}

double TraceClock::error_s() const {
  if (!first_) return 0;
  if (!last_) return first_->error_s;
  return drifts() ? std::max(first_->error_s, last_->error_s) : std::min(first_->error_s, last_->error_s);
}

}  // namespace stagformer::internal
