// RMSNorm. Squares are summed in f64 (exact products), in 16 partial sums.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "kernels/kernels.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

using F64 = hn::CappedTag<double, 16>;
inline constexpr int kLanes64 = static_cast<int>(hn::MaxLanes(F64()));
inline constexpr int kParts64 = 16 / kLanes64;

struct V16d {
  hn::Vec<F64> part[kParts64];
};

HWY_INLINE void add_squares(const float* x, V16d& sums) {
  using Narrow = hn::Rebind<float, F64>;
  STAG_UNROLLED (i, kParts64) {
    const auto wide = hn::PromoteTo(F64(), hn::LoadU(Narrow(), x + i * kLanes64));
    sums.part[i] = hn::MulAdd(wide, wide, sums.part[i]);
  }
}

double sum_of_squares(const float* x, std::int64_t n) {
  V16d sums;
  STAG_UNROLLED (i, kParts64) sums.part[i] = hn::Zero(F64());
  std::int64_t i = 0;
  for (; i + 16 <= n; i += 16) add_squares(x + i, sums);
  if (i < n) {
    float padded[16];
    store(load_n(x + i, n - i), padded);
    add_squares(padded, sums);
  }
  double lane[16];
  STAG_UNROLLED (p, kParts64) hn::StoreU(sums.part[p], F64(), lane + p * kLanes64);
  return tree_sum(lane);
}

void rms_norm_lanes(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  const double mean = sum_of_squares(x, n) / static_cast<double>(n);
  const V16 factor = splat(static_cast<float>(1.0 / std::sqrt(mean + static_cast<double>(eps))));
  for (std::int64_t i = 0; i < n; i += 16)
    store_n(mul(mul(load_n(x + i, n - i), factor), load_n(weight + i, n - i)), out + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(rms_norm_lanes);

void rms_norm(const float* x, const float* weight, std::int64_t n, float eps, float* out) {
  HWY_DYNAMIC_DISPATCH(rms_norm_lanes)(x, weight, n, eps, out);
}

}  // namespace stagformer::internal
#endif
