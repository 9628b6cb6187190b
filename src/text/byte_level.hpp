// The printable alphabet of byte-level BPE (GPT-2): every byte is written as one character. Printable bytes
// of Latin-1 stand for themselves, the others follow from U+0100 on in ascending order.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace stagformer::internal {

/// UTF-8 of the character that stands for a byte.
const std::string& byte_symbol(unsigned char byte);

/// The bytes that a written token stands for; nothing where a character is outside the alphabet.
std::optional<std::string> bytes_of_symbols(std::string_view token);

}  // namespace stagformer::internal
