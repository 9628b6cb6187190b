// UTF-8 as the Unicode standard defines it: no overlong forms, no surrogates, nothing above U+10FFFF.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace stagformer::internal {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

struct Utf8Scan {
  enum class Kind {
    valid,       ///< `bytes` form one character
    invalid,     ///< `bytes` form a maximal subpart that no further byte can complete
    incomplete,  ///< all `bytes` of the text are the start of a character
  };
  Kind kind = Kind::valid;
  std::size_t bytes = 0;
  char32_t code_point = 0;  ///< of a valid character
};

/// Looks at the first character of a text that is not empty.
Utf8Scan scan_utf8(std::string_view text);

void append_utf8(std::string& out, char32_t code_point);

/// The text with one U+FFFD for every maximal subpart that is not UTF-8.
std::string valid_utf8(std::string_view text);

/// What a message may quote of a file: valid, on one line, at most 200 bytes or so.
std::string quotable(std::string_view text);

}  // namespace stagformer::internal
