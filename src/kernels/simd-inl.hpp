// Sixteen f32 lanes, whatever the vector width: 1 x 16, 2 x 8 or 4 x 4. A lane is an output row of a panel,
// or one of the sixteen partial sums of a reduction, so the order of additions is the same on every
// instruction set. Compiled once for each target: no ordinary include guard.
#if defined(STAGFORMER_KERNELS_SIMD_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef STAGFORMER_KERNELS_SIMD_INL
#undef STAGFORMER_KERNELS_SIMD_INL
#else
#define STAGFORMER_KERNELS_SIMD_INL
#endif

#include <hwy/highway.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

// Keeps small arrays of vectors in registers: their loops must be gone before the register allocation.
#undef STAG_UNROLLED
#if HWY_TARGET == HWY_SCALAR  // one lane a vector: loops of 16 are left to the compiler
#define STAG_UNROLLED(index, count) for (int index = 0; index < (count); ++index)
#elif defined(__clang__)
#define STAG_UNROLLED(index, count) \
  _Pragma("clang loop unroll(full)") for (int index = 0; index < (count); ++index)
#else
#define STAG_UNROLLED(index, count) _Pragma("GCC unroll 16") for (int index = 0; index < (count); ++index)
#endif

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

using F32 = hn::CappedTag<float, 16>;
using U32 = hn::RebindToUnsigned<F32>;
using VF = hn::Vec<F32>;
using VU = hn::Vec<U32>;

inline constexpr int kLanes = static_cast<int>(hn::MaxLanes(F32()));  ///< lanes of one vector
inline constexpr int kParts = 16 / kLanes;                            ///< vectors of one V16

struct V16 {
  VF part[kParts];
};
struct U16 {  ///< the same for 32-bit words
  VU part[kParts];
};

HWY_INLINE V16 splat(float value) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::Set(F32(), value);
  return v;
}

HWY_INLINE V16 load(const float* from) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::LoadU(F32(), from + i * kLanes);
  return v;
}

HWY_INLINE void store(const V16& v, float* to) {
  STAG_UNROLLED (i, kParts) hn::StoreU(v.part[i], F32(), to + i * kLanes);
}

/// The first `count` values, `fill` beyond them where count < 16.
HWY_INLINE V16 load_n(const float* from, std::int64_t count, float fill = 0) {
  if (HWY_LIKELY(count >= 16)) return load(from);
  float padded[16];
  for (std::int64_t i = 0; i < 16; ++i) padded[i] = i < count ? from[i] : fill;
  return load(padded);
}

HWY_INLINE void store_n(const V16& v, float* to, std::int64_t count) {
  if (HWY_LIKELY(count >= 16)) return store(v, to);
  float padded[16];
  store(v, padded);
  for (std::int64_t i = 0; i < count; ++i) to[i] = padded[i];
}

HWY_INLINE V16 add(const V16& a, const V16& b) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::Add(a.part[i], b.part[i]);
  return v;
}

HWY_INLINE V16 sub(const V16& a, const V16& b) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::Sub(a.part[i], b.part[i]);
  return v;
}

HWY_INLINE V16 mul(const V16& a, const V16& b) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::Mul(a.part[i], b.part[i]);
  return v;
}

HWY_INLINE V16 div(const V16& a, const V16& b) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::Div(a.part[i], b.part[i]);
  return v;
}

/// a * b + c, rounded once where the instruction set can.
HWY_INLINE V16 fma(const V16& a, const V16& b, const V16& c) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::MulAdd(a.part[i], b.part[i], c.part[i]);
  return v;
}

/// The larger of each lane; a NaN in b is passed over.
HWY_INLINE V16 larger(const V16& a, const V16& b) {
  V16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::IfThenElse(hn::Gt(b.part[i], a.part[i]), b.part[i], a.part[i]);
  return v;
}

HWY_INLINE U16 load_words(const std::byte* from) {
  U16 v;
  const auto* words = reinterpret_cast<const std::uint32_t*>(from);
  STAG_UNROLLED (i, kParts) v.part[i] = hn::LoadU(U32(), words + i * kLanes);
  return v;
}

/// Bits of every word moved left, or right where kLeft < 0.
template <int kLeft>
HWY_INLINE U16 shift(const U16& v) {
  U16 shifted;
  STAG_UNROLLED (i, kParts) {
    if constexpr (kLeft >= 0)
      shifted.part[i] = hn::ShiftLeft<kLeft>(v.part[i]);
    else
      shifted.part[i] = hn::ShiftRight<-kLeft>(v.part[i]);
  }
  return shifted;
}

/// (v & mask) | base as f32.
HWY_INLINE V16 mask_or(const U16& v, std::uint32_t mask, std::uint32_t base) {
  V16 f;
  STAG_UNROLLED (i, kParts)
    f.part[i] = hn::BitCast(F32(), hn::OrAnd(hn::Set(U32(), base), v.part[i], hn::Set(U32(), mask)));
  return f;
}

HWY_INLINE V16 as_floats(const U16& v) {
  V16 f;
  STAG_UNROLLED (i, kParts) f.part[i] = hn::BitCast(F32(), v.part[i]);
  return f;
}

/// 16 IEEE half floats widened.
HWY_INLINE V16 load_halves(const std::byte* from) {
  using F16 = hn::Rebind<hwy::float16_t, F32>;
  V16 f;
  const auto* halves = reinterpret_cast<const hwy::float16_t*>(from);
  STAG_UNROLLED (i, kParts) f.part[i] = hn::PromoteTo(F32(), hn::LoadU(F16(), halves + i * kLanes));
  return f;
}

/// Sum of 16 partial sums in a fixed tree: lanes 8 apart, then 4, 2, 1.
template <typename T>
HWY_INLINE T tree_sum(T (&lane)[16]) {
  for (int width = 8; width > 0; width /= 2)
    for (int i = 0; i < width; ++i) lane[i] += lane[i + width];
  return lane[0];
}

HWY_INLINE float sum_lanes(const V16& v) {
  float lane[16];
  store(v, lane);
  return tree_sum(lane);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
