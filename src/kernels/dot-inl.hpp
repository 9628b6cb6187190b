// Dot products of four unsigned by four signed bytes, exact in int32, 16 of them at a time. Every instruction
// set gives the same integers, and the same floats from them. Compiled once for each target.
#if defined(STAGFORMER_KERNELS_DOT_INL) == defined(HWY_TARGET_TOGGLE)
#ifdef STAGFORMER_KERNELS_DOT_INL
#undef STAGFORMER_KERNELS_DOT_INL
#else
#define STAGFORMER_KERNELS_DOT_INL
#endif

#include <type_traits>

#include "kernels/fused.hpp"
#include "kernels/simd-inl.hpp"

// Highway 1.0.3 names another extension where it means avx512vnni. The rest of its list stays as it is, or
// its functions could not be inlined. Holds for the including file too.
#if HWY_TARGET == HWY_AVX3_DL && !defined(HWY_TARGET_STR_AVX3_DL)
#undef HWY_TARGET_STR
#define HWY_TARGET_STR \
  HWY_TARGET_STR_AVX3  \
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

/// a * b + c rounded once, also where the instruction set cannot.
HWY_INLINE V16 fused(const V16& a, const V16& b, const V16& c) {
#if HWY_NATIVE_FMA
  return fma(a, b, c);
#else
  float x[16], y[16], z[16];
  store(a, x);
  store(b, y);
  store(c, z);
  for (int i = 0; i < 16; ++i) z[i] = internal::fused(x[i], y[i], z[i]);
  return load(z);
#endif
}

// Dots<kNibbles>: sixteen dot products of unsigned bytes of weights, or of nibbles in bytes, that grow by
// four bytes at a time over a block. They begin with `start`, which the last step, words(), may need once
// more.
//
//   begin_dots<kNibbles>(start)   start, the same for all
//   add_dots(dots, w, x)          += the bytes of each word of w times the four bytes of x; w as from
//                                 prepare<kNibbles>(), which is done once for all rows of x
//   words(dots, start)            the integers
//
// Activations are -127..127. Bytes of weights stand for q + 128; a start of -128 * (sum of activations) takes
// the offset off.

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_SSE4 && HWY_TARGET > HWY_AVX3_DL

using S16 = hn::Repartition<std::int16_t, F32>;
using VS = hn::Vec<S16>;

/// Sums of neighbouring products of unsigned and signed bytes, in 16 bits: they must fit.
HWY_INLINE VS pair_products(VU w, VI x) {
#if HWY_TARGET == HWY_SSE4
  return VS{_mm_maddubs_epi16(w.raw, x.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VS{_mm256_maddubs_epi16(w.raw, x.raw)};
#else
  return VS{_mm512_maddubs_epi16(w.raw, x.raw)};
#endif
}

/// a + the sums of neighbouring products of 16 bits, in 32 bits.
HWY_INLINE VI add_pairs(VI a, VS b, VS c) {
  VI unused = a;
  return hn::ReorderWidenMulAccumulate(I32(), b, c, a, unused);
}

using FourBytes = VI;
HWY_INLINE FourBytes four_bytes(std::int32_t x) {
  return hn::Set(I32(), x);
}

/// Nibbles: the eight steps of a block fit into 16 bits, 8 * 2 * 15 * 127 = 30480.
struct NibbleDots {
  using Tag = S16;
  VS part[kParts];
};
/// Bytes: 16 bits hold one sum of two products of |q| <= 128 and an activation with the sign of q.
struct ByteDots {
  using Tag = I32;
  VI part[kParts];
};
template <bool kNibbles>
using Dots = std::conditional_t<kNibbles, NibbleDots, ByteDots>;

struct SignedBytes {
  VI quants[kParts];
  VU magnitudes[kParts];
};
template <bool kNibbles>
using Prepared = std::conditional_t<kNibbles, U16, SignedBytes>;

template <bool kNibbles>
HWY_INLINE Prepared<kNibbles> prepare(const U16& w) {
  if constexpr (kNibbles) {
    return w;
  } else {
    const hn::Repartition<std::int8_t, F32> bytes;
    SignedBytes prepared;
    STAG_UNROLLED (i, kParts) {
      const VU quants = hn::Xor(w.part[i], hn::Set(U32(), 0x80808080u));
      prepared.quants[i] = hn::BitCast(I32(), quants);
      prepared.magnitudes[i] = hn::BitCast(U32(), hn::Abs(hn::BitCast(bytes, quants)));
    }
    return prepared;
  }
}

template <bool kNibbles>
HWY_INLINE Dots<kNibbles> begin_dots(std::int32_t) {
  Dots<kNibbles> dots;
  STAG_UNROLLED (i, kParts) dots.part[i] = hn::Zero(typename Dots<kNibbles>::Tag());
  return dots;
}

HWY_INLINE void add_dots(NibbleDots& dots, const U16& w, const FourBytes& x) {
  STAG_UNROLLED (i, kParts) dots.part[i] = hn::Add(dots.part[i], pair_products(w.part[i], x));
}

HWY_INLINE VI with_sign(VI x, VI sign) {
#if HWY_TARGET == HWY_SSE4
  return VI{_mm_sign_epi8(x.raw, sign.raw)};
#elif HWY_TARGET == HWY_AVX2
  return VI{_mm256_sign_epi8(x.raw, sign.raw)};
#else
  return VI{_mm512_mask_sub_epi8(x.raw, _mm512_movepi8_mask(sign.raw), _mm512_setzero_si512(), x.raw)};
#endif
}

HWY_INLINE void add_dots(ByteDots& dots, const SignedBytes& w, const FourBytes& x) {
  STAG_UNROLLED (i, kParts) {
    const VS pairs = pair_products(w.magnitudes[i], with_sign(x, w.quants[i]));
    dots.part[i] = add_pairs(dots.part[i], pairs, hn::Set(S16(), 1));
  }
}

HWY_INLINE I16 words(const NibbleDots& dots, std::int32_t start) {
  I16 sums;
  STAG_UNROLLED (i, kParts) sums.part[i] = add_pairs(hn::Set(I32(), start), dots.part[i], hn::Set(S16(), 1));
  return sums;
}
HWY_INLINE I16 words(const ByteDots& dots, std::int32_t) {
  I16 sums;
  STAG_UNROLLED (i, kParts) sums.part[i] = dots.part[i];
  return sums;
}

#else  // in 32 bits from the beginning

template <bool>
using Dots = I16;
template <bool>
using Prepared = U16;

template <bool>
HWY_INLINE U16 prepare(const U16& w) {
  return w;
}
template <bool>
HWY_INLINE I16 begin_dots(std::int32_t start) {
  return splat_int(start);
}
HWY_INLINE I16 words(const I16& dots, std::int32_t) {
  return dots;
}

#if HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX3_DL

using FourBytes = VI;
HWY_INLINE FourBytes four_bytes(std::int32_t x) {
  return hn::Set(I32(), x);
}
HWY_INLINE void add_dots(I16& dots, const U16& w, const FourBytes& x) {
  dots.part[0] = VI{_mm512_dpbusd_epi32(dots.part[0].raw, w.part[0].raw, x.raw)};
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

HWY_INLINE VI add_four(VI sum, VU w, const FourBytes& x) {
  const VU mask = hn::Set(U32(), 0xffu);
  const auto product = [&x](int j, VU byte) { return hn::Mul(hn::BitCast(I32(), byte), x.byte[j]); };
  sum = hn::Add(sum, product(0, hn::And(w, mask)));
  sum = hn::Add(sum, product(1, hn::And(hn::ShiftRight<8>(w), mask)));
  sum = hn::Add(sum, product(2, hn::And(hn::ShiftRight<16>(w), mask)));
  return hn::Add(sum, product(3, hn::ShiftRight<24>(w)));
}
HWY_INLINE void add_dots(I16& dots, const U16& w, const FourBytes& x) {
  STAG_UNROLLED (i, kParts) dots.part[i] = add_four(dots.part[i], w.part[i], x);
}

#endif
#endif

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#endif  // per-target include guard
