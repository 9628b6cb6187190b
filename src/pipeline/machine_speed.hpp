// What the machine gives this rank while all ranks are at work: the yardstick that a benchmark's figures are
// held against.
#pragma once

#include <cstdint>

#include "comm/transport.hpp"

namespace stagformer::internal {

/// Of one rank with all its threads; medians of several repetitions.
struct MachineSpeed {
  std::int64_t read_bytes = 0;       ///< what was read in turn: the rank's weights, or as much as is sensible
  double read_bytes_per_s = 0;       ///< streaming read
  double f32_operations_per_s = 0;   ///< fused multiply-adds in registers, two operations each
  double byte_operations_per_s = 0;  ///< dot products of bytes; 0 where there is no instruction for them
};

/// The better of each figure of two measurements of the same bytes.
MachineSpeed best_of(const MachineSpeed& a, const MachineSpeed& b);

/// Collective: all ranks measure at the same time. `bytes`: this rank's weights; reads as many, in 2 MiB
/// pages.
MachineSpeed measure_machine(Transport& world, std::int64_t bytes, int threads);

}  // namespace stagformer::internal
