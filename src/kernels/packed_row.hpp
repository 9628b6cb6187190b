// One row out of a packed matrix.
#pragma once

#include <cstdint>

#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

/// Row `row` to f32, out: [columns]; the same bits as dequantize_row() of the stored row. Its words lie a
/// line of a panel apart: slow beside a stored row, and meant for a few rows a step.
void dequantize_packed_row(const PackedMatrix& matrix, std::int64_t row, float* out);

}  // namespace stagformer::internal
