// Products with int8 activations, spelled out in plain loops: the contract of src/kernels/matmul_int8.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernel_data.hpp"
#include "kernels/number_bits.hpp"

namespace stagformer::internal {

/// A block of 32 activations.
struct ReferenceActivations {
  int quants[32] = {};
  int sum = 0;
  float scale = 0;

  explicit ReferenceActivations(const float* x) {
    float largest = 0;
    for (int i = 0; i < 32; ++i) {
      if (!std::isfinite(x[i])) scale = std::numeric_limits<float>::quiet_NaN();
      largest = std::max(largest, std::fabs(x[i]));
    }
    if (std::isnan(scale) || largest < 0x1p-100f) return;
    scale = largest / 127.0f;
    const float inverse = 127.0f / largest;
    for (int i = 0; i < 32; ++i) {
      quants[i] = static_cast<int>(std::nearbyint(x[i] * inverse));
      sum += quants[i];
    }
  }
};

/// A stored block of one row.
struct ReferenceWeights {
  int quants[32] = {};  ///< offset taken off
  float scale = 0, minimum = 0;

  ReferenceWeights(NumberFormat format, const std::byte* stored) {
    const auto half = [stored](int i) {
      std::uint16_t bits;
      std::memcpy(&bits, stored + 2 * i, 2);
      return float_from_f16(bits);
    };
    scale = half(0);
    if (format == NumberFormat::q4_1) minimum = half(1);
    const std::byte* bytes = stored + (format == NumberFormat::q4_1 ? 4 : 2);
    for (int i = 0; i < 32; ++i) {
      if (format == NumberFormat::q8_0) {
        quants[i] = static_cast<std::int8_t>(bytes[i]);
        continue;
      }
      const int byte = std::to_integer<int>(bytes[i % 16]);
      quants[i] = (i < 16 ? byte & 15 : byte >> 4) - (format == NumberFormat::q4_0 ? 8 : 0);
    }
  }
};

/// One output of one row of x.
inline float reference_int8(NumberFormat format, std::int64_t columns, const std::byte* stored_row,
                            const float* x) {
  const std::int64_t block_bytes = stored_row_bytes(format, 32);
  float sum = 0;
  for (std::int64_t b = 0; b < columns / 32; ++b) {
    const ReferenceWeights w(format, stored_row + b * block_bytes);
    const ReferenceActivations a(x + b * 32);
    int dot = 0;
    for (int i = 0; i < 32; ++i) dot += w.quants[i] * a.quants[i];
    sum = std::fma(static_cast<float>(dot), w.scale * a.scale, sum);
    if (format == NumberFormat::q4_1) sum = std::fma(w.minimum, a.scale * static_cast<float>(a.sum), sum);
  }
  return sum;
}

}  // namespace stagformer::internal
