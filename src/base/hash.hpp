// FNV-1a with 64 bits: small, the same everywhere, no protection against anybody.
#pragma once

#include <cstdint>

namespace stagformer::internal {

inline constexpr std::uint64_t kHashStart = 14695981039346656037ULL;

/// The hash with one more value in it: a byte, or any number taken whole.
inline std::uint64_t hash_step(std::uint64_t hash, std::uint64_t value) {
  return (hash ^ value) * 1099511628211ULL;
}

}  // namespace stagformer::internal
