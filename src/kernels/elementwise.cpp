// Functions of one element each: rotation, activation, addition, scaling.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/exp-inl.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

void rope_lanes(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos, const float* sin) {
  const std::int64_t half = head_dim / 2;
  for (std::int64_t h = 0; h < heads; ++h, x += head_dim)
    for (std::int64_t i = 0; i < half; i += 16) {
      const std::int64_t left = half - i;
      const V16 c = load_n(cos + i, left), s = load_n(sin + i, left);
      const V16 first = load_n(x + i, left), second = load_n(x + half + i, left);
      store_n(sub(mul(first, c), mul(second, s)), x + i, left);
      store_n(add(mul(second, c), mul(first, s)), x + half + i, left);
    }
}

/// x * sigmoid(u): exp(-u) overflows to infinity for very negative u, and the result is zero as it should be.
HWY_INLINE V16 times_sigmoid(const V16& x, const V16& u) {
  return div(x, add(splat(1), exp(sub(splat(0), u))));
}

HWY_INLINE V16 silu(const V16& x) {
  return times_sigmoid(x, x);
}

/// 0.5 (1 + tanh v) = sigmoid(2 v), without tanh's cancellation; v = sqrt(2 / pi) (x + 0.044715 x^3).
HWY_INLINE V16 gelu_tanh(const V16& x) {
  const V16 cubic = fma(mul(x, x), splat(0.044715f * 1.5957691216f), splat(1.5957691216f));
  return times_sigmoid(x, mul(x, cubic));
}

template <V16 (*act)(const V16&)>
HWY_INLINE void gated(float* gate, const float* up, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16)
    store_n(mul(act(load_n(gate + i, n - i)), load_n(up + i, n - i)), gate + i, n - i);
}

void gated_lanes(Activation activation, float* gate, const float* up, std::int64_t n) {
  if (activation == Activation::silu)
    gated<silu>(gate, up, n);
  else
    gated<gelu_tanh>(gate, up, n);
}

void add_lanes(float* x, const float* y, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16)
    store_n(add(load_n(x + i, n - i), load_n(y + i, n - i)), x + i, n - i);
}

void scale_lanes(float* x, float factor, std::int64_t n) {
  for (std::int64_t i = 0; i < n; i += 16) store_n(mul(load_n(x + i, n - i), splat(factor)), x + i, n - i);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(rope_lanes);
HWY_EXPORT(gated_lanes);
HWY_EXPORT(add_lanes);
HWY_EXPORT(scale_lanes);

void rope(float* x, std::int64_t heads, std::int64_t head_dim, const float* cos, const float* sin) {
  HWY_DYNAMIC_DISPATCH(rope_lanes)(x, heads, head_dim, cos, sin);
}

void gated_activation(Activation activation, float* gate, const float* up, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(gated_lanes)(activation, gate, up, n);
}

void add(float* x, const float* y, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(add_lanes)(x, y, n);
}

void scale(float* x, float factor, std::int64_t n) {
  HWY_DYNAMIC_DISPATCH(scale_lanes)(x, factor, n);
}

}  // namespace stagformer::internal
#endif
