// How far two arrays are apart, with tolerances from the machine's epsilon and the depth of the computation.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>

namespace stagformer::test {

/// Largest difference over the largest expected magnitude; infinite where sizes differ or a value is not a
/// number.
inline double relative_error(std::span<const float> found, std::span<const float> expected) {
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, magnitude = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = std::abs(static_cast<double>(found[i]) - static_cast<double>(expected[i]));
    if (!(d <= std::numeric_limits<double>::max())) return std::numeric_limits<double>::infinity();
    difference = std::max(difference, d);
    magnitude = std::max(magnitude, std::abs(static_cast<double>(expected[i])));
  }
  return magnitude > 0 ? difference / magnitude : difference;
}

/// Root of the sum of squared differences over that of the expected values; infinite as above.
inline double relative_distance(std::span<const float> found, std::span<const float> expected) {
  if (found.size() != expected.size()) return std::numeric_limits<double>::infinity();
  double difference = 0, magnitude = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double d = static_cast<double>(found[i]) - static_cast<double>(expected[i]);
    difference += d * d;
    magnitude += static_cast<double>(expected[i]) * static_cast<double>(expected[i]);
  }
  const double distance = std::sqrt(difference / magnitude);
  return std::isfinite(distance) ? distance : std::numeric_limits<double>::infinity();
}

/// f32 arithmetic against float64: errors of some epsilon a layer, a few dozen roundings each.
inline double f32_tolerance(int layers_in_sequence) {
  return 12.0 * static_cast<double>(std::numeric_limits<float>::epsilon()) * std::max(4, layers_in_sequence);
}

}  // namespace stagformer::test
