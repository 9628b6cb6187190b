// What the read-out asks of a block of logits.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/vocabulary.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <limits>

#include "kernels/exp-inl.hpp"
#include "kernels/kernels.hpp"
#include "kernels/number_bits.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

inline constexpr float kLeast = -std::numeric_limits<float>::infinity();

/// NaNs are passed over.
float max_of(const float* values, std::int64_t n) {
  V16 most = splat(kLeast);
  for (std::int64_t i = 0; i < n; i += 16) most = larger(most, load_n(values + i, n - i, kLeast));
  float lane[16];
  store(most, lane);
  return *std::max_element(lane, lane + 16);
}

BlockSum block_sum_lanes(const float* logits, std::int64_t n, float inverse_temperature) {
  const float most = max_of(logits, n);
  const V16 shift = splat(most), factor = splat(inverse_temperature);
  V16 sums = splat(0);
  for (std::int64_t i = 0; i < n; i += 16) {
    const V16 weight = exp(mul(sub(load_n(logits + i, n - i), shift), factor));
    float kept[16] = {};
    store_n(weight, kept, n - i);  // nothing from beyond n
    sums = add(sums, n - i >= 16 ? weight : load(kept));
  }
  return {most, sum_lanes(sums)};
}

std::int64_t argmax_lanes(const float* values, std::int64_t n) {
  const float most = max_of(values, n);
  const float* found = std::find(values, values + n, most);
  return found == values + n ? 0 : found - values;  // all NaN: the caller's check of finiteness tells
}

bool all_finite_lanes(const float* values, std::int64_t n) {
  V16 largest = splat(0);
  for (std::int64_t i = 0; i < n; i += 16) {
    // x - x is zero for finite x and NaN otherwise; a NaN once added stays.
    const V16 x = load_n(values + i, n - i);
    largest = add(largest, sub(x, x));
  }
  return f32_is_finite(sum_lanes(largest));
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(block_sum_lanes);
HWY_EXPORT(argmax_lanes);
HWY_EXPORT(all_finite_lanes);

BlockSum block_sum(const float* logits, std::int64_t n, float inverse_temperature) {
  return HWY_DYNAMIC_DISPATCH(block_sum_lanes)(logits, n, inverse_temperature);
}

std::int64_t argmax(const float* values, std::int64_t n) {
  return HWY_DYNAMIC_DISPATCH(argmax_lanes)(values, n);
}

bool all_finite(const float* values, std::int64_t n) {
  return HWY_DYNAMIC_DISPATCH(all_finite_lanes)(values, n);
}

}  // namespace stagformer::internal
#endif
