// How the numbers of a foreign tensor are stored: the checkpoint's own formats, and float16 besides.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "stagformer/number_format.hpp"

namespace stagformer::internal {

enum class TensorType { f32, f16, bf16, q8_0, q4_0, q4_1 };

const char* name_of(TensorType type);
bool is_block_type(TensorType type);
/// Bytes of `columns` values; block types need whole blocks of 32.
std::int64_t bytes_of_row(TensorType type, std::int64_t columns);

/// The number format with the same bytes; none for float16.
std::optional<NumberFormat> same_format(TensorType type);
/// The format that holds every value of the type unchanged: its own, or f32 for float16.
NumberFormat exact_format(TensorType type);

/// One stored row to f32, out: [columns]; exact for f32, f16 and bf16, scale * q (+ minimum) for blocks.
void row_to_f32(TensorType type, std::span<const std::byte> stored, std::span<float> out);

}  // namespace stagformer::internal
