#include "pipeline/link_model.hpp"

#include <cstddef>
#include <string>
#include <utility>

#include "stagformer/error.hpp"

namespace stagformer::internal {

LinkModel::LinkModel(std::vector<LinkPoint> points) : points_(std::move(points)) {
  if (points_.empty()) throw ConfigError("a link's list of message sizes is empty");
  for (std::size_t i = 0; i < points_.size(); ++i) {
    const LinkPoint& p = points_[i];
    if (p.bytes < 0 || p.latency_s < 0 || p.gap_s < 0)
      throw ConfigError("a link's size or time is negative at " + std::to_string(p.bytes) + " bytes");
    if (i > 0 && p.bytes <= points_[i - 1].bytes)
      throw ConfigError("a link's message sizes do not ascend at " + std::to_string(p.bytes) + " bytes");
  }
}

LinkModel LinkModel::of(double latency_s, double bytes_per_s) {
  constexpr double kLarge = 1 << 20;
  return LinkModel({{0, latency_s, 0}, {kLarge, latency_s + kLarge / bytes_per_s, kLarge / bytes_per_s}});
}

double LinkModel::at(double bytes, double LinkPoint::*value) const {
  if (points_.empty()) return 0;
  if (bytes <= points_.front().bytes || points_.size() == 1) return points_.front().*value;
  std::size_t i = 1;
  while (i + 1 < points_.size() && bytes > points_[i].bytes) ++i;
  const LinkPoint &a = points_[i - 1], &b = points_[i];
  return a.*value + (b.*value - a.*value) * (bytes - a.bytes) / (b.bytes - a.bytes);
}

}  // namespace stagformer::internal
