// The yardstick measures something, on any number of threads and ranks. How much is the machine's affair.
#include <gtest/gtest.h>

#include "comm/local_transport.hpp"
#include "kernels/machine_speed.hpp"
#include "pipeline/machine_speed.hpp"

namespace stagformer::internal {
namespace {

TEST(MachineSpeed, ReadsAsMuchAsWasAskedForInWholeSteps) {
  run_local_ranks(1, {}, [](Transport& world) {
    for (const int threads : {1, 3}) {
      const std::int64_t step = kReadStep * 4 * threads;
      EXPECT_EQ(measure_machine(world, 100 * step, threads).read_bytes, 100 * step);
      EXPECT_EQ(measure_machine(world, 100 * step + 1, threads).read_bytes, 100 * step);
      EXPECT_EQ(measure_machine(world, 1, threads).read_bytes, step);
    }
  });
}

TEST(MachineSpeed, IsPositiveOnEveryRank) {
  run_local_ranks(2, {}, [](Transport& world) {
    const MachineSpeed speed = measure_machine(world, 1 << 20, 1);
    EXPECT_GT(speed.read_bytes_per_s, 0);
    EXPECT_GT(speed.f32_operations_per_s, 0);
    EXPECT_GE(speed.byte_operations_per_s, 0);
  });
}

TEST(MachineSpeed, OperationsGrowWithTheRounds) {
  EXPECT_GT(run_fma_chains(1), 0);
  EXPECT_EQ(run_fma_chains(300), 300 * run_fma_chains(1));
  EXPECT_EQ(run_byte_dot_chains(300), 300 * run_byte_dot_chains(1));
}

}  // namespace
}  // namespace stagformer::internal
