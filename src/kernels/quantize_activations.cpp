// Activations of one row to int8. Bits are the same on every instruction set: the largest magnitude is found
// among integers (a NaN is the largest of all), and each value is one product rounded to nearest even.
#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize_activations.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <bit>
#include <limits>

#include "base/check.hpp"
#include "kernels/activation_row.hpp"
#include "kernels/kernels.hpp"
#include "kernels/simd-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {

using I32 = hn::RebindToSigned<F32>;
using VI = hn::Vec<I32>;

inline constexpr int kVectors = static_cast<int>(kBlockValues) / kLanes;

// 127 / max must be finite and 1 / scale a normal number; what is smaller counts as zero.
inline constexpr float kSmallestMax = 0x1p-100f;

/// Bits of the largest magnitude of a block.
HWY_INLINE std::int32_t largest_bits(const float* x) {
  const I32 di;
  VI largest = hn::Zero(di);
  for (int i = 0; i < kVectors; ++i) {
    const VI bits = hn::BitCast(di, hn::Abs(hn::LoadU(F32(), x + i * kLanes)));
    largest = hn::Max(largest, bits);
  }
  return hn::GetLane(hn::MaxOfLanes(di, largest));
}

/// Quants of a block; returns their sum.
HWY_INLINE std::int32_t quantize(const float* x, float inverse, std::int8_t* quants) {
  const I32 di;
  const hn::Rebind<std::int8_t, I32> d8;
  VI sum = hn::Zero(di);
  for (int i = 0; i < kVectors; ++i) {
    const auto scaled = hn::Mul(hn::LoadU(F32(), x + i * kLanes), hn::Set(F32(), inverse));
    const VI rounded = hn::NearestInt(scaled);
    sum = hn::Add(sum, rounded);
    hn::StoreU(hn::DemoteTo(d8, rounded), d8, quants + i * kLanes);
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

void quantize_blocks(const float* x, std::int64_t begin, std::int64_t end, ActivationBlock* row) {
  for (std::int64_t b = begin; b < end; ++b) {
    ActivationBlock& block = row[b];
    const auto largest = std::bit_cast<float>(largest_bits(x + b * kBlockValues));
    const bool finite = largest <= std::numeric_limits<float>::max();
    const bool some = finite && largest >= kSmallestMax;
    const std::int32_t sum = quantize(x + b * kBlockValues, some ? 127.0f / largest : 0.0f, block.quants);
    if (finite) {
      block.scale = some ? largest / 127.0f : 0.0f;
    } else {
      block = {};
      block.scale = std::numeric_limits<float>::quiet_NaN();
    }
    block.scaled_sum = block.scale * static_cast<float>(finite ? sum : 0);
    block.minus_8_sums = finite ? -8 * sum : 0;
    block.minus_128_sums = finite ? -128 * sum : 0;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(quantize_blocks);

std::int64_t quantized_row_bytes(std::int64_t columns) {
  const auto bytes = columns / kBlockValues * static_cast<std::int64_t>(sizeof(ActivationBlock));
  return (bytes + 63) / 64 * 64;
}

void quantize_activations(const float* x, std::int64_t block_begin, std::int64_t block_end,
                          [[maybe_unused]] std::int64_t columns, std::byte* row) {
  STAG_DCHECK(block_begin >= 0 && block_end * kBlockValues <= columns, block_begin, block_end, columns);
  HWY_DYNAMIC_DISPATCH(quantize_blocks)(x, block_begin, block_end, reinterpret_cast<ActivationBlock*>(row));
}

}  // namespace stagformer::internal
#endif
