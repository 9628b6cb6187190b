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

  LinkPoint measure(std::size_t bytes) {
    std::vector<double> latencies, gaps;
    const double end = now_seconds() + kSecondsASize;
    // Rank 0 decides when it is enough: both must make the same calls, so the last byte of a round trip says
    // so.
    for (int round = 0;; ++round) {
      const bool last =
          first_ && round >= kLeastRounds + kWarmUps && (now_seconds() > end || round >= kMostRounds);
      const double latency = round_trip(bytes) / 2, gap = burst(bytes, last);
      if (round >= kWarmUps) {
        latencies.push_back(latency);
        gaps.push_back(gap);
      }
      if (first_ ? last : was_last_) break;
    }
    return {static_cast<double>(bytes), median(latencies), median(gaps)};
  }

 private:
  double round_trip(std::size_t bytes) {
    const double begin = now_seconds();
    world_.start_receive(receives_[0]);
    if (first_) world_.start_send(sends_[0], bytes);
    world_.wait(receives_[0], subject());
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
    for (std::size_t i = 0; i < kSizes.size(); ++i) points[i] = end.measure(kSizes[i]);
  }
  world.barrier();
  for (LinkPoint& point : points) point = gather_values(world, point)[0];
  return LinkModel(points);
}

}  // namespace stagformer::internal
