// Of measured times.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

namespace stagformer::internal {

/// Between the middle two of an even number of values; there must be one at least.
inline double median(std::vector<double> values) {
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

}  // namespace stagformer::internal
