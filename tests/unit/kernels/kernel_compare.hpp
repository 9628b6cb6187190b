// Comparisons with double-precision references, and runs on every instruction set.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernel_data.hpp"
#include "kernels/kernels.hpp"

namespace stagformer::internal {

inline constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of 1.0f

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Restores the best instruction set when a test ends.
struct InstructionSetGuard {
  explicit InstructionSetGuard(int level) { use_instruction_set(level); }
  ~InstructionSetGuard() { use_instruction_set(best_instruction_set()); }
  InstructionSetGuard(const InstructionSetGuard&) = delete;
  InstructionSetGuard& operator=(const InstructionSetGuard&) = delete;
};

/// y = W x in double, and the sum of |w x| that bounds the rounding errors of any order of summation.
struct ReferenceProduct {
  std::vector<double> y, magnitude;  ///< [batch][rows]

  ReferenceProduct(const std::vector<float>& w, std::int64_t rows, std::int64_t columns,
                   const std::vector<float>& x, std::int64_t x_stride, std::int64_t batch) {
    for (std::int64_t b = 0; b < batch; ++b)
      for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0, size = 0;
        for (std::int64_t k = 0; k < columns; ++k) {
          const double term = static_cast<double>(w[static_cast<std::size_t>(r * columns + k)]) *
                              static_cast<double>(x[static_cast<std::size_t>(b * x_stride + k)]);
          sum += term;
          size += std::fabs(term);
        }
        y.push_back(sum);
        magnitude.push_back(size);
      }
  }
};

/// Outputs that are further from the reference than `columns` roundings of the sum of magnitudes allow. A
/// chain of n additions is off by at most n epsilon times that sum, in practice by the root of n.
inline int count_wrong(const ReferenceProduct& reference, const std::vector<float>& y, std::int64_t y_stride,
                       std::int64_t rows, std::int64_t columns) {
  int wrong = 0;
  for (std::size_t i = 0; i < reference.y.size(); ++i) {
    const auto at = static_cast<std::int64_t>(i) / rows * y_stride + static_cast<std::int64_t>(i) % rows;
    const double allowed =
        (2 + 2 * std::sqrt(static_cast<double>(columns))) * kEpsilon * reference.magnitude[i];
    if (!(std::fabs(static_cast<double>(y[static_cast<std::size_t>(at)]) - reference.y[i]) <= allowed))
      ++wrong;
  }
  return wrong;
}

}  // namespace stagformer::internal
