#include "text/utf8.hpp"

#include "base/check.hpp"

namespace stagformer::internal {
namespace {

/// What a lead byte promises: the length of the character and the range of its second byte.
struct Lead {
  std::size_t length;  // 0: no character begins with this byte
  unsigned char second_min = 0x80, second_max = 0xBF;
};

// Table 3-7 of the Unicode standard, "Well-formed UTF-8 byte sequences".
Lead lead_of(unsigned char byte) {
  if (byte < 0x80) return {1};
  if (byte < 0xC2) return {0};
  if (byte < 0xE0) return {2};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0};
}

char32_t lead_bits(unsigned char byte, std::size_t length) {
  return length == 1 ? byte : byte & (0x7FU >> length);
}

}  // namespace

Utf8Scan scan_utf8(std::string_view text) {
  STAG_DCHECK(!text.empty());
  const auto first = static_cast<unsigned char>(text[0]);
  const Lead lead = lead_of(first);
  if (lead.length == 0) return {Utf8Scan::Kind::invalid, 1};
  char32_t code_point = lead_bits(first, lead.length);
  for (std::size_t i = 1; i < lead.length; ++i) {
    if (i == text.size()) return {Utf8Scan::Kind::incomplete, i};
    const auto byte = static_cast<unsigned char>(text[i]);
    const unsigned char low = i == 1 ? lead.second_min : 0x80, high = i == 1 ? lead.second_max : 0xBF;
    if (byte < low || byte > high) return {Utf8Scan::Kind::invalid, i};
    code_point = (code_point << 6) | (byte & 0x3FU);
  }
  return {Utf8Scan::Kind::valid, lead.length, code_point};
}

void append_utf8(std::string& out, char32_t code_point) {
  const auto put = [&](char32_t bits) { out.push_back(static_cast<char>(bits)); };
  const auto tail = [&](int shift) { put(0x80 | ((code_point >> shift) & 0x3F)); };
  if (code_point < 0x80) return put(code_point);
  if (code_point < 0x800) {
    put(0xC0 | (code_point >> 6));
  } else if (code_point < 0x10000) {
    put(0xE0 | (code_point >> 12));
    tail(6);
  } else {
    put(0xF0 | (code_point >> 18));
    tail(12);
    tail(6);
  }
  tail(0);
}

std::string valid_utf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Scan scan = scan_utf8(text);
    out += scan.kind == Utf8Scan::Kind::valid ? text.substr(0, scan.bytes) : kReplacementCharacter;
    text.remove_prefix(scan.bytes);
  }
  return out;
}

std::string quotable(std::string_view text) {
  constexpr std::size_t kMostBytes = 200;
  std::string out = valid_utf8(text.substr(0, kMostBytes));
  for (char& c : out)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = ' ';
  return text.size() > kMostBytes ? out + "..." : out;
}

}  // namespace stagformer::internal
