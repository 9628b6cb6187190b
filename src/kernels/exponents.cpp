#include "kernels/simd_targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/exponents.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/exponents.hpp"

HWY_BEFORE_NAMESPACE();
namespace stagformer::internal {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

std::uint64_t exponents_seen_lanes(const ExponentTest& test, const std::byte* numbers, std::int64_t bytes) {
  const hn::ScalableTag<std::uint64_t> tag;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(tag)), words = bytes / 8;
  const auto mask = hn::Set(tag, test.mask), one = hn::Set(tag, test.one);
  const auto* from = reinterpret_cast<const std::uint64_t*>(numbers);
  const auto of = [&](std::int64_t i) { return hn::Add(hn::And(hn::LoadU(tag, from + i), mask), one); };
  // Four chains of "or", because one would wait for itself.
  auto seen0 = hn::Zero(tag), seen1 = seen0, seen2 = seen0, seen3 = seen0;
  std::int64_t i = 0;
  for (; i + 4 * lanes <= words; i += 4 * lanes) {
    seen0 = hn::Or(seen0, of(i));
    seen1 = hn::Or(seen1, of(i + lanes));
    seen2 = hn::Or(seen2, of(i + 2 * lanes));
    seen3 = hn::Or(seen3, of(i + 3 * lanes));
  }
  std::uint64_t kept[HWY_MAX_BYTES / 8] = {}, all = 0;
  hn::StoreU(hn::Or(hn::Or(seen0, seen1), hn::Or(seen2, seen3)), tag, kept);
  for (const std::uint64_t lane : kept) all |= lane;
  for (i *= 8; i < bytes; i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, numbers + i, static_cast<std::size_t>(bytes - i < 8 ? bytes - i : 8));
    all |= test.of(word);
  }
  return all;
}

}  // namespace HWY_NAMESPACE
}  // namespace stagformer::internal
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace stagformer::internal {

HWY_EXPORT(exponents_seen_lanes);

std::uint64_t exponents_seen(const ExponentTest& test, const void* numbers, std::int64_t bytes) {
  return HWY_DYNAMIC_DISPATCH(exponents_seen_lanes)(test, static_cast<const std::byte*>(numbers), bytes);
}

}  // namespace stagformer::internal
#endif
