// Counter-based random numbers: a pure function of seed, sequence, position and token, hence equal on every
// rank and whatever was drawn before.
#pragma once

#include <array>
#include <cstdint>

#include "text/sampling.hpp"

namespace stagformer::internal {

/// Philox 4x32 with 10 rounds (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3").
std::array<std::uint32_t, 4> philox(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// -log(-log(u)): standard Gumbel for u uniform in (0, 1).
double gumbel_from_uniform(double u);

/// The random numbers of kSize neighbouring tokens. One Philox block serves two of them.
struct UniformChunk {
  static constexpr int kSize = 16;
  std::uint32_t words[4][kSize / 2];  ///< words[w][pair]; an even token has words 0 and 1, an odd one 2 and 3

  /// The upper 32 of the random bits of token first + i.
  std::uint32_t upper(int i) const { return words[i % 2 * 2][i / 2]; }
  /// Uniform in (0, 1), 52 random bits: (k + 1/2) / 2^52. Within [upper, upper + 1) / 2^32.
  double uniform(int i) const {
    const std::uint64_t k = (std::uint64_t{upper(i)} << 20) | (words[i % 2 * 2 + 1][i / 2] >> 12);
    return (static_cast<double>(k) + 0.5) * 0x1p-52;
  }
  /// Some token's upper bits are at least `least`.
  bool any_from(std::uint32_t least) const;
};

/// All random numbers of one choice.
class UniformSource {
 public:
  explicit UniformSource(const SamplingKey& key);
  /// Tokens first, first + 1, ..., first + UniformChunk::kSize - 1; first must be even.
  UniformChunk chunk(std::int32_t first) const;
  /// The same number for one token.
  double uniform(std::int32_t token) const;

 private:
  // (sequence, position) need 128 bits and the token 32 more, so one block keyed by the seed condenses them
  // first.
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> upper_counter_;
};

}  // namespace stagformer::internal
