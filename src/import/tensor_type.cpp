#include "import/tensor_type.hpp"

#include <cstring>

#include "kernels/number_bits.hpp"
#include "kernels/packed_matrix.hpp"

namespace stagformer::internal {

std::optional<NumberFormat> same_format(TensorType type) {
  switch (type) {
    case TensorType::f32:
      return NumberFormat::f32;
    case TensorType::bf16:
      return NumberFormat::bf16;
    case TensorType::q8_0:
      return NumberFormat::q8_0;
    case TensorType::q4_0:
      return NumberFormat::q4_0;
    case TensorType::q4_1:
      return NumberFormat::q4_1;
    case TensorType::f16:
      break;
  }
  return std::nullopt;
}

NumberFormat exact_format(TensorType type) {
  return same_format(type).value_or(NumberFormat::f32);
}

const char* name_of(TensorType type) {
  const auto format = same_format(type);
  return format ? stagformer::name_of(*format) : "f16";
}

bool is_block_type(TensorType type) {
  const auto format = same_format(type);
  return format && is_block_format(*format);
}

std::int64_t bytes_of_row(TensorType type, std::int64_t columns) {
  const auto format = same_format(type);
  return format ? stored_row_bytes(*format, columns) : 2 * columns;
}

void row_to_f32(TensorType type, std::span<const std::byte> stored, std::span<float> out) {
  if (const auto format = same_format(type))
    return dequantize_row(*format, static_cast<std::int64_t>(out.size()), stored.data(), out.data());
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits = 0;
    std::memcpy(&bits, stored.data() + 2 * i, 2);
    out[i] = float_from_f16(bits);
  }
}

}  // namespace stagformer::internal
