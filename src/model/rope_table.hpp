// Cosines and sines of the rotary positions (RoPE), with the frequency scaling of the configuration.
#pragma once

#include <cstdint>
#include <vector>

#include "stagformer/config.hpp"

namespace stagformer::internal {

class RopeTable {
 public:
  /// Positions 0 to `positions` - 1.
  RopeTable(const ModelConfig& config, std::int64_t positions);

  const float* cos(std::int64_t position) const { return &cos_[static_cast<std::size_t>(position * half_)]; }
  const float* sin(std::int64_t position) const { return &sin_[static_cast<std::size_t>(position * half_)]; }

 private:
  std::int64_t half_;  // head_dim / 2 frequencies
  std::vector<float> cos_, sin_;
};

/// Radians a position of each of the head_dim / 2 frequencies, scaling applied.
std::vector<double> rope_frequencies(const ModelConfig& config);

}  // namespace stagformer::internal
