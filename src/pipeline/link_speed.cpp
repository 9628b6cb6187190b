#include "pipeline/link_speed.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "base/statistics.hpp"
#include "pipeline/tags.hpp"

namespace stagformer::internal {
namespace {

constexpr std::array<std::size_t, 10> kSizes = {8,     512,    2048,   4096,    16384,
                                                65536, 131072, 262144, 1 << 20, 4 << 20};
constexpr std::size_t kMostSizes = 40;
/// A size between two is measured as well until it lies this near to the line between them, or they are this
/// near to each other: MPI sends in another way from some size on, which is a step.
constexpr double kOffTheLine = 0.15, kNear = 1.1;
constexpr int kBurst = 8, kWarmUps = 3;
constexpr double kSecondsASize = 0.05;
constexpr int kLeastRounds = 9, kMostRounds = 201;

/// One of the two ranks: requests to and from the other one, a burst's worth each way.
class LinkEnd {
 public:
  LinkEnd(Transport& world, std::size_t largest)
      : world_(world),
        first_(world.rank() == 0),
        peer_(first_ ? 1 : 0),
        largest_(largest),
        out_(largest),
        in_(kBurst * largest) {
    for (int i = 0; i < kBurst; ++i) {
      sends_.push_back(world.make_send(out_.span(), peer_, tag(Tag::latency)));
      receives_.push_back(world.make_receive(
          in_.span().subspan(static_cast<std::size_t>(i) * largest, largest), peer_, tag(Tag::latency)));
    }
  }
  LinkEnd(const LinkEnd&) = delete;
  LinkEnd& operator=(const LinkEnd&) = delete;
  ~LinkEnd() {
    for (const auto request : sends_) world_.release(request);
    for (const auto request : receives_) world_.release(request);
  }

  /// The size that rank 0 says.
  std::size_t told(std::size_t bytes) {
    if (first_) {
      std::memcpy(out_.data(), &bytes, sizeof bytes);
      world_.start_send(sends_[0], sizeof bytes);
      world_.wait(sends_[0], subject());
    } else {
      world_.start_receive(receives_[0]);
      world_.wait(receives_[0], subject());
      std::memcpy(&bytes, in_.data(), sizeof bytes);
    }
    return bytes;
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
    const double end = world_.now() + kSecondsASize;
    for (int round = 0;; ++round) {
      const bool last =
          first_ && round >= kLeastRounds + kWarmUps && (world_.now() > end || round >= kMostRounds);
      const double seconds = sample(last);
      if (round >= kWarmUps) samples.push_back(seconds);
      if (first_ ? last : was_last_) break;
    }
    return median(samples);
  }

  double round_trip(std::size_t bytes, bool last) {
    const double begin = world_.now();
    out_.data()[0] = std::byte(last);
    world_.start_receive(receives_[0]);
    if (first_) world_.start_send(sends_[0], bytes);
    world_.wait(receives_[0], subject());
    was_last_ = in_.data()[0] != std::byte{0};
    if (!first_) world_.start_send(sends_[0], bytes);
    world_.wait(sends_[0], subject());
    return world_.now() - begin;
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
    const double begin = world_.now();
    if (first_) {
      out_.data()[0] = std::byte(last);
      for (const auto request : sends_) world_.start_send(request, bytes);
      for (const auto request : sends_) world_.wait(request, subject());
    } else {
      for (const auto request : receives_) world_.wait(request, subject());
      was_last_ = in_.data()[(kBurst - 1) * largest_] != std::byte{0};
    }
    const double seconds = world_.now() - begin;
    out_.data()[0] = std::byte{0};
    return seconds / kBurst;
  }

  WaitSubject subject() const { return {"the link's measurement", peer_, 0}; }

  Transport& world_;
  bool first_;
  int peer_;
  std::size_t largest_;
  AlignedBuffer<std::byte> out_, in_;
  std::vector<Transport::Request> sends_, receives_;
  bool was_last_ = false;
};

/// Latencies by size, in rank 0's hands: rank 1 does as it is told.
class LatencyCurve {
 public:
  LatencyCurve(LinkEnd& end, bool first, std::size_t largest)
      : end_(end), first_(first), sizes_(kSizes.begin(), std::ranges::upper_bound(kSizes, largest)) {}

  /// Both ranks: sizes and latencies, ascending.
  std::vector<LinkPoint> measure() {
    for (const std::size_t bytes : sizes_) add(bytes);
    if (first_) {
      for (std::size_t i = 1; i < sizes_.size(); ++i) refine(sizes_[i - 1], sizes_[i]);
      end_.told(kEnough);
    } else {
      for (std::size_t bytes = end_.told(0); bytes != kEnough; bytes = end_.told(0)) add(bytes);
    }
    std::vector<LinkPoint> points;
    for (const auto& [bytes, seconds] : found_) points.push_back({static_cast<double>(bytes), seconds, 0});
    return points;
  }

 private:
  static constexpr std::size_t kEnough = 0;

  void add(std::size_t bytes) { found_[bytes] = end_.latency(bytes); }

  void refine(std::size_t low, std::size_t high) {
    const std::size_t middle = (low + high) / 2 / 8 * 8;
    if (static_cast<double>(high) < kNear * static_cast<double>(low) || middle <= low) return;
    if (found_.size() == kMostSizes) return;
    add(end_.told(middle));
    const double line = (found_[low] + found_[high]) / 2;
    if (std::abs(found_[middle] - line) < kOffTheLine * line) return;
    refine(low, middle);
    refine(middle, high);
  }

  LinkEnd& end_;
  bool first_;
  std::vector<std::size_t> sizes_;
  std::map<std::size_t, double> found_;
};

}  // namespace

LinkModel measure_link(Transport& world, std::size_t largest) {
  std::vector<LinkPoint> points;
  if (world.size() > 1 && world.rank() < 2) {
    LinkEnd end(world, largest);
    // What a burst leaves on its way would be in front of a round trip: far apart that takes a while.
    points = LatencyCurve(end, world.rank() == 0, largest).measure();
    for (LinkPoint& point : points) point.gap_s = end.gap(static_cast<std::size_t>(point.bytes));
  }
  Bytes shared(points.size() * sizeof(LinkPoint));
  std::memcpy(shared.data(), points.data(), shared.size());
  shared = world.broadcast(std::move(shared), 0);
  std::vector<LinkPoint> all(shared.size() / sizeof(LinkPoint));
  std::memcpy(all.data(), shared.data(), shared.size());
  if (all.empty()) all.push_back({});  // nobody to send to
  return LinkModel(all);
}

}  // namespace stagformer::internal
