// Fused multiply-add for instruction sets that have none.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace stagformer::internal {

/// a * b + c rounded once. The double product is exact; its sum with c is rounded to odd, which keeps what
/// was lost below visible when it is rounded again to f32.
inline float fused(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b), added = static_cast<double>(c);
  double sum = product + added;
  const double rest = sum - product;
  const double lost = (product - (sum - rest)) + (added - rest);
  if (lost != 0 && std::isfinite(sum)) {
    const auto bits = std::bit_cast<std::int64_t>(sum);
    if (bits % 2 == 0) sum = std::bit_cast<double>(bits + ((lost > 0) == (sum > 0) ? 1 : -1));
  }
  return static_cast<float>(sum);
}

}  // namespace stagformer::internal
