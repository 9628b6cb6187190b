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

/// All random numbers of one choice. One Philox block serves two neighbouring tokens.
class UniformSource {
 public:
  static constexpr int kChunk = 16;  ///< tokens of one fill_chunk()

  explicit UniformSource(const SamplingKey& key);
  /// Uniform in (0, 1), 52 random bits: (k + 1/2) / 2^52.
  double uniform(std::int32_t token) const;
  /// The same for tokens first, first + 1, ..., first + kChunk - 1; first must be even.
  void fill_chunk(std::int32_t first, double* u) const;

 private:
  // (sequence, position) need 128 bits and the token 32 more, so one block keyed by the seed condenses them
  // first.
  std::array<std::uint32_t, 2> key_;
  std::array<std::uint32_t, 2> upper_counter_;
};

}  // namespace stagformer::internal
