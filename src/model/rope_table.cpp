#include "model/rope_table.hpp"

#include <cmath>
#include <numbers>

namespace stagformer::internal {
namespace {

// Long wavelengths are slowed by the factor, short ones kept, those between blended (Llama 3.1).
double llama3_frequency(double frequency, const RopeScaling& scaling) {
  const double original = static_cast<double>(scaling.original_max_position_embeddings);
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < original / scaling.high_freq_factor) return frequency;
  if (wavelength > original / scaling.low_freq_factor) return frequency / scaling.factor;
  const double smooth = (original / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
  return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

}  // namespace

std::vector<double> rope_frequencies(const ModelConfig& config) {
  std::vector<double> frequencies(static_cast<std::size_t>(config.head_dim / 2));
  for (std::size_t i = 0; i < frequencies.size(); ++i) {
    const double exponent = 2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim);
    double frequency = std::pow(config.rope_theta, -exponent);
    if (config.rope_scaling) {
      const RopeScaling& scaling = *config.rope_scaling;
      frequency = scaling.type == RopeScaling::Type::linear ? frequency / scaling.factor
                                                            : llama3_frequency(frequency, scaling);
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

RopeTable::RopeTable(const ModelConfig& config, std::int64_t positions)
    : half_(config.head_dim / 2),
      cos_(static_cast<std::size_t>(positions * half_)),
      sin_(static_cast<std::size_t>(positions * half_)) {
  const std::vector<double> frequencies = rope_frequencies(config);
  std::size_t at = 0;
  for (std::int64_t position = 0; position < positions; ++position)
    for (const double frequency : frequencies) {
      const double angle = static_cast<double>(position) * frequency;
      cos_[at] = static_cast<float>(std::cos(angle));
      sin_[at++] = static_cast<float>(std::sin(angle));
    }
}

}  // namespace stagformer::internal
