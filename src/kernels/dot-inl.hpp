// Dot products of four unsigned by four signed bytes, exact in int32, 16 of them at a time. Every instruction
// set gives the same integers, and the same floats from them. Compiled once for each target.
#if defined(STAGFORMER_KERNELS_DOT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef STAGFORMER_KERNELS_DOT_INL
#undef STAGFORMER_KERNELS_DOT_INL
#else
#define STAGFORMER_KERNELS_DOT_INL
#endif

#include <bit>
#include <cmath>

#include "kernels/simd-inl.hpp"

// Highway 1.0.3 names another extension where it means avx512vnni. The rest of its list stays as it is, or its
// functions could not be inlined. Holds for the including file too.
#if HWY_TARGET == HWY_AVX3_DL && !defined(HWY_TARGET_STR_AVX3_DL)
#undef HWY_TARGET_STR
#define HWY_TARGET_STR                                                                          \
  HWY_TARGET_STR_AVX3                                                                           \
  ",vpclmulqdq,avx512vbmi,avx512vbmi2,vaes,avxvnni,avx512vnni,avx512bitalg,avx512vpopcntdq"
#endif

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

using I32 = hn::RebindToSigned<F32>;
using VI = hn::Vec<I32>;

struct I16 {  ///< sixteen int32
  VI part[kParts];
};

HWY_INLINE I16 splat_int(std::int32_t value) {
  I16 v;
  STAG_UNROLLED (i, kParts) v.part[i] = hn::Set(I32(), value);
  return v;
}

HWY_INLINE V16 to_floats(const I16& v) {
  V16 f;
  STAG_UNROLLED (i, kParts) f.part[i] = hn::ConvertTo(F32(), v.part[i]);
  return f;
}

HWY_INLINE U16 low_nibbles(const U16& v) {
  U16 low;
  STAG_UNROLLED (i, kParts) low.part[i] = hn::And(v.part[i], hn::Set(U32(), 0x0f0f0f0fu));
  return low;
}

/// a * b + c rounded once, also where the instruction set cannot: the double product is exact, and its sum
/// with c is rounded to odd, so that rounding it again to f32 is right.
HWY_INLINE float fused(float a, float b, float c) {
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

HWY_INLINE V16 fused(const V16& a, const V16& b, const V16& c) {
#if HWY_NATIVE_FMA
  return fma(a, b, c);
#else
  float x[16], y[16], z[16];
  store(a, x);
  store(b, y);
  store(c, z);
  for (int i = 0; i < 16; ++i) z[i] = fused(x[i], y[i], z[i]);
  return load(z);
#endif
}

#if HWY_TARGET == HWY_AVX3_DL
struct FourBytes {
  VI bytes;
};
HWY_INLINE FourBytes four_bytes(std::int32_t x) {
  return {hn::Set(I32(), x)};
}
HWY_INLINE VI dot_part(VI sum, VU w, const FourBytes& x) {
  return VI{_mm512_dpbusd_epi32(sum.raw, w.raw, x.bytes.raw)};
}
#elif HWY_ARCH_X86 && HWY_TARGET != HWY_SCALAR
// Bytes 0 and 2, and 1 and 3, as 16-bit values: products of u8 and s8 saturate 16 bits, those of 16 bits do
// not.
using I16x2 = hn::Repartition<std::int16_t, F32>;
using U16x2 = hn::RebindToUnsigned<I16x2>;

struct FourBytes {
  hn::Vec<I16x2> even, odd;
};
HWY_INLINE FourBytes four_bytes(std::int32_t x) {
  const auto bytes = hn::BitCast(I16x2(), hn::Set(I32(), x));
  return {hn::ShiftRight<8>(hn::ShiftLeft<8>(bytes)), hn::ShiftRight<8>(bytes)};
}
HWY_INLINE VI dot_part(VI sum, VU w, const FourBytes& x) {
  const auto pairs = hn::BitCast(U16x2(), w);
  const auto even = hn::BitCast(I16x2(), hn::And(pairs, hn::Set(U16x2(), 0xff)));
  const auto odd = hn::BitCast(I16x2(), hn::ShiftRight<8>(pairs));
  VI unused = sum;
  sum = hn::ReorderWidenMulAccumulate(I32(), even, x.even, sum, unused);
  return hn::ReorderWidenMulAccumulate(I32(), odd, x.odd, sum, unused);
}
#else
struct FourBytes {
  VI byte[4];
};
HWY_INLINE FourBytes four_bytes(std::int32_t x) {
  FourBytes four;
  for (int j = 0; j < 4; ++j) four.byte[j] = hn::Set(I32(), static_cast<std::int8_t>(x >> (8 * j)));
  return four;
}
HWY_INLINE VI dot_part(VI sum, VU w, const FourBytes& x) {
  const VU mask = hn::Set(U32(), 0xffu);
  const auto product = [&x](int j, VU byte) { return hn::Mul(hn::BitCast(I32(), byte), x.byte[j]); };
  sum = hn::Add(sum, product(0, hn::And(w, mask)));
  sum = hn::Add(sum, product(1, hn::And(hn::ShiftRight<8>(w), mask)));
  sum = hn::Add(sum, product(2, hn::And(hn::ShiftRight<16>(w), mask)));
  return hn::Add(sum, product(3, hn::ShiftRight<24>(w)));
}
#endif

/// sums += the dot products of the bytes of each word with the four bytes of x.
HWY_INLINE void add_dots(I16& sums, const U16& w, const FourBytes& x) {
  STAG_UNROLLED (i, kParts) sums.part[i] = dot_part(sums.part[i], w.part[i], x);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
