// The ways of matmul(): own kernels on f32 or on int8 activations, or a BLAS on fixed tiles.
#pragma once

#include <cstdint>

#include "kernels/kernels.hpp"

namespace stagformer::internal {

/// Arguments of matmul() (kernels.hpp).
struct Product {
  const PackedMatrix& w;
  const Activations& x;
  std::int64_t batch;
  float* y;
  std::int64_t y_stride;
};

void matmul_float(const Product& product, std::int64_t panel_begin, std::int64_t panel_end);
void matmul_int8(const Product& product, std::int64_t panel_begin, std::int64_t panel_end);
void matmul_blas(const Product& product, std::int64_t panel_begin, std::int64_t panel_end);

/// Panel `panel` dequantised to f32: weight (k, r) at out + k * k_stride + r, r in [0, 32).
void expand_panel(const PackedMatrix& w, std::int64_t panel, std::int64_t k_stride, float* out);

}  // namespace stagformer::internal
