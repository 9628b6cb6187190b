#include <gtest/gtest.h>

#include "kernel_compare.hpp"
#include "stagformer/error.hpp"

namespace stagformer::internal {
namespace {

TEST(InstructionSet, LevelsHaveNames) {
  EXPECT_STREQ(instruction_set_name(0), "portable");
  EXPECT_STREQ(instruction_set_name(1), "avx2");
  EXPECT_STREQ(instruction_set_name(2), "avx512");
}

TEST(InstructionSet, TheBestDoesNotDependOnTheChosen) {
  const int best = best_instruction_set();
  const InstructionSetGuard guard(0);
  EXPECT_EQ(best_instruction_set(), best);
}

#if defined(__x86_64__) && defined(__GNUC__)
TEST(InstructionSet, IsWhatTheProcessorHas) {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  EXPECT_EQ(best_instruction_set() >= 1, avx2);
  EXPECT_EQ(best_instruction_set() >= 2, avx2 && __builtin_cpu_supports("avx512vl"));
}
#endif

TEST(InstructionSet, ABetterOneThanTheProcessorsIsRefused) {
  EXPECT_THROW(use_instruction_set(best_instruction_set() + 1), Error);
  EXPECT_THROW(use_instruction_set(-1), Error);
}

}  // namespace
}  // namespace stagformer::internal
