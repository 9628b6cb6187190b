// Loops whose speed is a limit of the machine: what a rank's memory and arithmetic units give at most. One
// thread a call, no allocation.
#pragma once

#include <cstdint>

namespace stagformer::internal {

inline constexpr std::int64_t kReadStep = 128;  ///< floats; read_all() takes whole steps

/// Reads values [0, n) once, n a multiple of kReadStep, and does next to nothing with them.
void read_all(const float* values, std::int64_t n);

/// Independent chains of fused multiply-adds in registers; returns the operations done (two a multiply-add).
double run_fma_chains(std::int64_t rounds);

/// The same for dot products of unsigned by signed bytes into 32-bit sums (VPDPBUSD); 0 where the processor
/// has no such instruction.
double run_byte_dot_chains(std::int64_t rounds);

}  // namespace stagformer::internal
