// Infinities and NaNs among bits: 8 bytes of numbers at a time.
#pragma once

#include <cstdint>

namespace stagformer::internal {

/// A number is infinite or NaN where all bits of its exponent are set: then the exponent plus one reaches the
/// sign bit, which the mask has cleared. So one sum tells for all numbers of a word, and an "or" for many
/// words.
struct ExponentTest {
  std::uint64_t mask, one;

  constexpr std::uint64_t of(std::uint64_t word) const { return (word & mask) + one; }
  constexpr bool failed(std::uint64_t seen) const { return (seen & (mask + one)) != 0; }
};
inline constexpr ExponentTest kF32Test{0x7f8000007f800000u, 0x0080000000800000u};
inline constexpr ExponentTest kBf16Test{0x7f807f807f807f80u, 0x0080008000800080u};
inline constexpr ExponentTest kF16Test{0x7c007c007c007c00u, 0x0400040004000400u};

/// The "or" of test.of() over `bytes` bytes of numbers; what is missing in the last word counts as zero.
std::uint64_t exponents_seen(const ExponentTest& test, const void* numbers, std::int64_t bytes);

}  // namespace stagformer::internal
