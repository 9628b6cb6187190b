// A row of activations quantised for products of block formats: one of these for every 32 values.
#pragma once

#include <cstdint>

#include "stagformer/number_format.hpp"

namespace stagformer::internal {

/// value = scale * quant. The sums serve the offsets and minima of the weights.
struct ActivationBlock {
  std::int8_t quants[kBlockValues];  ///< -127..127
  float scale;                       ///< max|x| / 127; 0 where all are zero, NaN where one is not finite
  float scaled_sum;                  ///< scale * (sum of quants), for minima
  std::int32_t minus_8_sums;         ///< -8 * (sum of quants), for weights stored as q + 8
  std::int32_t minus_128_sums;       ///< -128 * (sum of quants), for weights stored as q + 128
};
static_assert(sizeof(ActivationBlock) == 48);

}  // namespace stagformer::internal
