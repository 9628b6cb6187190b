// What a message between two ranks costs, by its size.
#pragma once

#include <vector>

namespace stagformer::internal {

/// Measured or assumed for one size; between sizes times are interpolated, beyond the largest they grow in
/// proportion.
struct LinkPoint {
  double bytes = 0;
  double latency_s = 0;  ///< from the start of the send until the receiver has the data
  double gap_s = 0;      ///< from the start of one send to that of the next on the same rank
};

class LinkModel {
 public:
  /// Nothing costs anything.
  LinkModel() = default;
  /// At least one point, sizes ascending. Throws ConfigError otherwise.
  explicit LinkModel(std::vector<LinkPoint> points);
  /// latency + bytes / rate, as links are usually described.
  static LinkModel of(double latency_s, double bytes_per_s);

  double latency_s(double bytes) const { return at(bytes, &LinkPoint::latency_s); }
  double gap_s(double bytes) const { return at(bytes, &LinkPoint::gap_s); }
  const std::vector<LinkPoint>& points() const { return points_; }

 private:
  double at(double bytes, double LinkPoint::*value) const;

  std::vector<LinkPoint> points_;
};

}  // namespace stagformer::internal
