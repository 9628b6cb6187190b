#include "text/byte_level.hpp"

#include <array>

#include "text/utf8.hpp"

namespace stagformer::internal {
namespace {

constexpr char32_t kFirstSubstitute = 0x100;
constexpr std::size_t kCodePoints = kFirstSubstitute + 256;  // all characters of the alphabet are below

bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || (byte >= 0xAE && byte <= 0xFF);
}

struct Alphabet {
  std::array<std::string, 256> symbols;
  std::array<int, kCodePoints> bytes;

  Alphabet() {
    bytes.fill(-1);
    char32_t substitute = kFirstSubstitute;
    for (int byte = 0; byte < 256; ++byte) {
      const char32_t code_point = stands_for_itself(byte) ? static_cast<char32_t>(byte) : substitute++;
      append_utf8(symbols[static_cast<std::size_t>(byte)], code_point);
      bytes[code_point] = byte;
    }
  }
};

const Alphabet& alphabet() {
  static const Alphabet instance;
  return instance;
}

}  // namespace

const std::string& byte_symbol(unsigned char byte) {
  return alphabet().symbols[byte];
}

std::optional<std::string> bytes_of_symbols(std::string_view token) {
  std::string bytes;
  while (!token.empty()) {
    const Utf8Scan scan = scan_utf8(token);
    if (scan.kind != Utf8Scan::Kind::valid || scan.code_point >= kCodePoints) return std::nullopt;
    const int byte = alphabet().bytes[scan.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    token.remove_prefix(scan.bytes);
  }
  return bytes;
}

}  // namespace stagformer::internal
