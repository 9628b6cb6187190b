// Reproducible inputs for the tests of the kernels.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "base/aligned_buffer.hpp"
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

}  // namespace stagformer::internal
