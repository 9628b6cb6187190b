// Reproducible inputs for the tests of the kernels.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "base/aligned_buffer.hpp"
#include "kernels/kernels.hpp"
#include "kernels/packed_matrix.hpp"
#include "stagformer/number_format.hpp"

namespace stagformer::internal {

inline constexpr NumberFormat kAllFormats[] = {NumberFormat::f32, NumberFormat::bf16, NumberFormat::q8_0,
                                               NumberFormat::q4_0, NumberFormat::q4_1};

inline std::vector<float> random_values(std::int64_t n, unsigned seed, float spread = 1) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0, spread);
  std::vector<float> values(static_cast<std::size_t>(n));
  for (float& value : values) value = normal(generator);
  return values;
}

/// A random matrix in one format: as stored, packed, and dequantised (all three the same values).
struct TestMatrix {
  std::vector<std::byte> stored;
  AlignedBuffer<std::byte> packed;
  std::vector<float> values;  ///< [rows][columns]
  PackedMatrix view;

  TestMatrix(NumberFormat format, std::int64_t rows, std::int64_t columns, unsigned seed) {
    const std::int64_t row_bytes = stored_row_bytes(format, columns);
    const std::vector<float> source = random_values(rows * columns, seed);
    stored.resize(static_cast<std::size_t>(rows * row_bytes));
    values.resize(source.size());
    for (std::int64_t r = 0; r < rows; ++r) {
      quantize_row(format, columns, source.data() + r * columns, stored.data() + r * row_bytes);
      dequantize_row(format, columns, stored.data() + r * row_bytes, values.data() + r * columns);
    }
    packed = AlignedBuffer<std::byte>(static_cast<std::size_t>(packed_bytes(format, rows, columns)));
    view = {format, rows, columns, packed.data()};
    pack_panels(format, rows, columns, stored.data(), 0, view.panels(), packed.data());
  }
};

/// Products from f32 rows, quantised here where w wants it.
inline void matmul(const PackedMatrix& w, const float* x, std::int64_t x_stride, std::int64_t batch, float* y,
                   std::int64_t y_stride, std::int64_t panel_begin, std::int64_t panel_end) {
  if (!wants_quantized(w))
    return matmul(w, {x, x_stride, nullptr, 0}, batch, y, y_stride, panel_begin, panel_end);
  const std::int64_t row_bytes = quantized_row_bytes(w.columns);
  AlignedBuffer<std::byte> rows(static_cast<std::size_t>(batch * row_bytes));
  for (std::int64_t b = 0; b < batch; ++b)
    quantize_activations(x + b * x_stride, 0, w.columns / kBlockValues, w.columns,
                         rows.data() + b * row_bytes);
  matmul(w, {nullptr, 0, rows.data(), row_bytes}, batch, y, y_stride, panel_begin, panel_end);
}

}  // namespace stagformer::internal
