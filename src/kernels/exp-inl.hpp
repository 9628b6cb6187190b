// exp of 16 lanes, the same bits wherever fused multiply-add exists. Compiled once for each target.
#if defined(STAGFORMER_KERNELS_EXP_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef STAGFORMER_KERNELS_EXP_INL
#undef STAGFORMER_KERNELS_EXP_INL
#else
#define STAGFORMER_KERNELS_EXP_INL
#endif

#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

// exp(x) = 2^n * exp(r), n = round(x / ln 2), |r| <= ln 2 / 2, exp(r) by its Taylor series up to r^7 (the
// rest is below 6e-9). 2^n is applied as two factors, so that results reach the subnormals and the largest
// f32 without a detour.
HWY_INLINE VF exp_lanes(VF x) {
  const F32 d;
  constexpr float kMagic = 0x1.8p23f;  // its last bits count units: adding it rounds to an integer
  const VF clamped = hn::Min(hn::Max(x, hn::Set(d, -104.0f)), hn::Set(d, 89.0f));
  const VF shifted = hn::MulAdd(clamped, hn::Set(d, 0x1.715476p0f), hn::Set(d, kMagic));
  const VF n = hn::Sub(shifted, hn::Set(d, kMagic));
  VF r = hn::NegMulAdd(n, hn::Set(d, 0x1.62e4p-1f), clamped);  // ln 2, upper 15 bits: the product is exact
  r = hn::NegMulAdd(n, hn::Set(d, 0x1.7f7d1cp-20f), r);        // the rest of ln 2
  VF p = hn::Set(d, 1.0f / 5040);
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 720));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 120));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 24));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f / 6));
  p = hn::MulAdd(p, r, hn::Set(d, 0.5f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  p = hn::MulAdd(p, r, hn::Set(d, 1.0f));
  const hn::RebindToSigned<F32> di;
  const auto whole = hn::Sub(hn::BitCast(di, shifted), hn::BitCast(di, hn::Set(d, kMagic)));
  const auto half = hn::ShiftRight<1>(whole), bias = hn::Set(di, 127);
  const VF first = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(half, bias)));
  const VF second = hn::BitCast(d, hn::ShiftLeft<23>(hn::Add(hn::Sub(whole, half), bias)));
  const VF result = hn::Mul(hn::Mul(p, first), second);
  return hn::IfThenElse(hn::Eq(x, x), result, x);  // NaN stays NaN
}

HWY_INLINE V16 exp(const V16& v) {
  V16 result;
  STAG_UNROLLED (i, kParts) result.part[i] = exp_lanes(v.part[i]);
  return result;
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
