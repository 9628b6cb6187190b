// Packing of a panel that has all its 32 rows, as nearly all have.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

/// Packs 32 stored rows, `row_bytes` apart, to a panel. Four rows and four words at a time are transposed in
/// registers: moved word by word, packing would take longer than reading the file.
void pack_whole_panel(NumberFormat format, std::int64_t columns, const std::byte* stored,
                      std::int64_t row_bytes, std::byte* panel);

}  // namespace stagformer::internal
