// Levels: 0 portable (no fused multiply-add), 1 AVX2 with FMA, 2 AVX-512. 1 and 2 give the same bits.
#include "kernels/simd_targets.hpp"

#include <hwy/highway.h>
#include <hwy/targets.h>

#include "base/check.hpp"
#include "kernels/kernels.hpp"

namespace stagformer::internal {
namespace {

constexpr int kLevels = 3;

#if HWY_ARCH_X86
constexpr std::int64_t kTargetsAbove[kLevels] = {HWY_AVX2 | HWY_AVX3 | HWY_AVX3_DL, HWY_AVX3 | HWY_AVX3_DL,
                                                 0};
#endif

int detect() {
#if HWY_ARCH_X86
  const std::int64_t supported = hwy::SupportedTargets();
  if (supported & HWY_AVX3) return 2;
  if (supported & HWY_AVX2) return 1;
#endif
  return 0;
}

}  // namespace

int best_instruction_set() {
  static const int best = detect();
  return best;
}

void use_instruction_set(int level) {
  STAG_CHECK(level >= 0 && level <= best_instruction_set(), level, best_instruction_set());
  std::int64_t targets = hwy::SupportedTargets();
#if HWY_ARCH_X86
  targets &= ~kTargetsAbove[level];
#endif
  hwy::GetChosenTarget().Update(targets);  // the table of every kernel starts with the targets left here
}

const char* instruction_set_name(int level) {
  constexpr const char* kNames[kLevels] = {"portable", "avx2", "avx512"};
  STAG_CHECK(level >= 0 && level < kLevels, level);
  return kNames[level];
}

}  // namespace stagformer::internal
