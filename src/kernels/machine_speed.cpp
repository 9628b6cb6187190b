// Ten chains: two units of latency four need eight, and ten accumulators with their operands fit into the
// sixteen registers of AVX2.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/machine_speed.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/machine_speed.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

inline constexpr int kChains = 10;

/// Sums of 16 lanes, eight vectors of 16 at a time; the result keeps the compiler from leaving the reads out.
float read_lanes(const float* values, std::int64_t n) {
  VF sums[8];
  STAG_UNROLLED (i, 8) sums[i] = hn::Zero(F32());
  for (std::int64_t at = 0; at < n; at += 8 * kLanes)
    STAG_UNROLLED (i, 8) sums[i] = hn::Add(sums[i], hn::LoadU(F32(), values + at + i * kLanes));
  STAG_UNROLLED (i, 7) sums[0] = hn::Add(sums[0], sums[i + 1]);
  return hn::GetLane(sums[0]);
}

/// x = x / 2 + 1 stays near 2, far from subnormals and infinities.
float fma_lanes(std::int64_t rounds, float half, double* operations) {
  const VF factor = hn::Set(F32(), half), one = hn::Set(F32(), half + half);
  VF sums[kChains];
  STAG_UNROLLED (i, kChains) sums[i] = hn::Set(F32(), static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round)
    STAG_UNROLLED (i, kChains) sums[i] = hn::MulAdd(sums[i], factor, one);
  STAG_UNROLLED (i, kChains - 1) sums[0] = hn::Add(sums[0], sums[i + 1]);
  *operations = static_cast<double>(rounds) * kChains * kLanes * 2;
  return hn::GetLane(sums[0]);
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#if HWY_ARCH_X86
#include <immintrin.h>
#endif

namespace stagformer::internal {
namespace {

HWY_EXPORT(read_lanes);
HWY_EXPORT(fma_lanes);

volatile float kept_float;  // results go here, so that no loop is without effect
[[maybe_unused]] volatile int kept_integer;

#if HWY_ARCH_X86
__attribute__((target("avx512f,avx512vnni"))) double byte_dot_chains(std::int64_t rounds, int byte) {
  constexpr int kBytes = 64, kDotChains = 10;
  const __m512i a = _mm512_set1_epi32(byte), b = _mm512_set1_epi32(byte + 1);
  __m512i sums[kDotChains];
  STAG_UNROLLED (i, kDotChains) sums[i] = _mm512_set1_epi32(i);
  for (std::int64_t round = 0; round < rounds; ++round)
    STAG_UNROLLED (i, kDotChains) sums[i] = _mm512_dpbusd_epi32(sums[i], a, b);
  STAG_UNROLLED (i, kDotChains - 1) sums[0] = _mm512_add_epi32(sums[0], sums[i + 1]);
  kept_integer = _mm_cvtsi128_si32(_mm512_castsi512_si128(sums[0]));
  return static_cast<double>(rounds) * kDotChains * kBytes * 2;
}
#endif

}  // namespace

void read_all(const float* values, std::int64_t n) {
  kept_float = HWY_DYNAMIC_DISPATCH(read_lanes)(values, n);
}

double run_fma_chains(std::int64_t rounds) {
  const volatile float half = 0.5F;  // unknown to the compiler
  double operations = 0;
  kept_float = HWY_DYNAMIC_DISPATCH(fma_lanes)(rounds, half, &operations);
  return operations;
}

double run_byte_dot_chains([[maybe_unused]] std::int64_t rounds) {
#if HWY_ARCH_X86
  if (__builtin_cpu_supports("avx512vnni")) return byte_dot_chains(rounds, 1);
#endif
  return 0;
}

}  // namespace stagformer::internal
#endif
