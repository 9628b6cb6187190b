// Everything that reads what others wrote, as the fuzzers call it.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace stagformer::fuzz {

using Input = std::span<const std::byte>;

struct Reader {
  const char* name;
  /// Takes any bytes; why they are refused, or nothing. What is accepted is used and, where it can be written
  /// again, compared with itself read once more. Throws where the reader throws something else than an Error,
  /// or an internal one, and where the comparison fails.
  std::optional<std::string> (*refusal)(Input bytes);
  /// Small good files.
  std::vector<std::string> (*seeds)();
};

std::span<const Reader> readers();
/// Throws std::invalid_argument for a name that is none.
const Reader& reader_named(std::string_view name);

}  // namespace stagformer::fuzz
