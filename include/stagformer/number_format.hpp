// How the numbers of a weight are stored (docs/checkpoint-format.md).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace stagformer {

enum class NumberFormat : std::uint8_t { f32, bf16, q8_0, q4_0, q4_1 };

/// Values per block of the block formats; every row of a block format is a whole number of blocks.
inline constexpr std::int64_t kBlockValues = 32;

/// Bytes of one stored row of `columns` values. Block formats need columns % 32 == 0 (else ConfigError).
std::int64_t stored_row_bytes(NumberFormat format, std::int64_t columns);

bool is_block_format(NumberFormat format);
const char* name_of(NumberFormat format);

/// Throws ConfigError for an unknown name.
NumberFormat number_format_from(std::string_view name);

}  // namespace stagformer
