#include "pipeline/link_speed.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/phase_clock.hpp"
#include "base/statistics.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

constexpr std::array<std::size_t, 10> kSizes = {8,     512,    2048,   4096,    16384,
                                                65536, 131072, 262144, 1 << 20, 4 << 20};
constexpr int kBurst = 8, kWarmUps = 3;
constexpr double kSecondsASize = 0.05;
constexpr int kLeastRounds = 9, kMostRounds = 201;

/// One of the two ranks: requests to and from the other one, a burst's worth each way.
class LinkEnd {
 public:
  explicit LinkEnd(Transport& world)
      : world_(world),
        first_(world.rank() == 0),
        peer_(first_ ? 1 : 0),
        out_(kSizes.back()),
        in_(kBurst * kSizes.back()) {
    for (int i = 0; i < kBurst; ++i) {
      sends_.push_back(world.make_send(out_.span(), peer_, tag(Tag::latency)));
      receives_.push_back(
          world.make_receive(in_.span().subspan(static_cast<std::size_t>(i) * kSizes.back(), kSizes.back()),
                             peer_, tag(Tag::latency)));
    }
  }
  LinkEnd(const LinkEnd&) = delete;
  LinkEnd& operator=(const LinkEnd&) = delete;
  ~LinkEnd() {
    for (const auto request : sends_) world_.release(request);
    for (const auto request : receives_) world_.release(request);
  }

  /// Half a round trip.
  double latency(std::size_t bytes) {
    return typical([&](bool last) { return round_trip(bytes, last) / 2; });
  }
  /// From one send to the next.
  double gap(std::size_t bytes) {
    return typical([&](bool last) { return burst(bytes, last); });
  }

 private:
  /// Rank 0 decides when it is enough: both must make the same calls, so the first byte of its last message
  /// says so.
  template <typename Sample>
  double typical(const Sample& sample) {
    std::vector<double> samples;
    const double end = now_seconds() + kSecondsASize;
    for (int round = 0;; ++round) {
      const bool last =
          first_ && round >= kLeastRounds + kWarmUps && (now_seconds() > end || round >= kMostRounds);
      const double seconds = sample(last);
      if (round >= kWarmUps) samples.push_back(seconds);
      if (first_ ? last : was_last_) break;
    }
    return median(samples);
  }

  double round_trip(std::size_t bytes, bool last) {
    const double begin = now_seconds();
    out_.data()[0] = std::byte(last);
    world_.start_receive(receives_[0]);
    if (first_) world_.start_send(sends_[0], bytes);
    world_.wait(receives_[0], subject());
    was_last_ = in_.data()[0] != std::byte{0};
    if (!first_) world_.start_send(sends_[0], bytes);
    world_.wait(sends_[0], subject());
    return now_seconds() - begin;
  }

  /// Rank 0 sends several at once; what rank 1 takes is not asked.
  double burst(std::size_t bytes, bool last) {
    if (first_) {  // rank 1 says that it is ready
      world_.start_receive(receives_[0]);
      world_.wait(receives_[0], subject());
    } else {
      for (const auto request : receives_) world_.start_receive(request);
      world_.start_send(sends_[0], 8);
      world_.wait(sends_[0], subject());
    }
    const double begin = now_seconds();
    if (first_) {
      out_.data()[0] = std::byte(last);
      for (const auto request : sends_) world_.start_send(request, bytes);
      for (const auto request : sends_) world_.wait(request, subject());
    } else {
      for (const auto request : receives_) world_.wait(request, subject());
      was_last_ = in_.data()[(kBurst - 1) * kSizes.back()] != std::byte{0};
    }
    const double seconds = now_seconds() - begin;
    out_.data()[0] = std::byte{0};
    return seconds / kBurst;
  }

  WaitSubject subject() const { return {"the link's measurement", peer_, 0}; }

  Transport& world_;
  bool first_;
  int peer_;
  AlignedBuffer<std::byte> out_, in_;
  std::vector<Transport::Request> sends_, receives_;
  bool was_last_ = false;
};

}  // namespace

LinkModel measure_link(Transport& world) {
  std::vector<LinkPoint> points;
  for (const std::size_t bytes : kSizes) points.push_back({static_cast<double>(bytes), 0, 0});
  if (world.size() > 1 && world.rank() < 2) {
    LinkEnd end(world);
    // What a burst leaves on its way would be in front of a round trip: far apart that takes a while.
    for (LinkPoint& point : points) point.latency_s = end.latency(static_cast<std::size_t>(point.bytes));
    for (LinkPoint& point : points) point.gap_s = end.gap(static_cast<std::size_t>(point.bytes));
  }
  world.barrier();
  for (LinkPoint& point : points) point = gather_values(world, point)[0];
  return LinkModel(points);
}

}  // namespace stagformer::internal
