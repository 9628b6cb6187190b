// Bit patterns of the 16-bit number types, in integer arithmetic: the same on every machine and compiler.
#pragma once

#include <bit>
#include <cstdint>

namespace stagformer::internal {

inline float float_from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(std::uint32_t{bits} << 16);
}

/// Round to nearest even; a NaN stays a (quiet) NaN.
inline std::uint16_t bf16_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<std::uint16_t>((bits >> 16) | 0x40u);
  return static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

/// IEEE binary16 to f32, exact.
inline float float_from_f16(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = (bits >> 10) & 31u, fraction = bits & 0x3ffu;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;  // zero or subnormal
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

/// f32 to IEEE binary16: round to nearest even, subnormals kept, overflow to infinity, NaN stays NaN.
inline std::uint16_t f16_from_float(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value), magnitude = bits & 0x7fffffffu;
  const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
  const auto with_sign = [sign](std::uint32_t half) { return static_cast<std::uint16_t>(sign | half); };
  if (magnitude > 0x7f800000u) return with_sign(0x7e00u);
  if (magnitude >= 0x47800000u)
    return with_sign(0x7c00u);     // 65536 and above; 65520 rounds up to infinity below
  if (magnitude >= 0x38800000u) {  // 2^-14 and above: normal
    const std::uint32_t rounded = magnitude + 0xfffu + ((magnitude >> 13) & 1u);
    return with_sign((rounded - 0x38000000u) >> 13);
  }
  if (magnitude < 0x33000000u) return sign;  // below 2^-25, half of the least subnormal
  const std::uint32_t shift = 126 - (magnitude >> 23), mantissa = (magnitude & 0x7fffffu) | 0x800000u;
  const std::uint32_t kept = mantissa >> shift, rest = mantissa & ((1u << shift) - 1),
                      half = 1u << (shift - 1);
  return with_sign(kept + (rest > half || (rest == half && (kept & 1u))));
}

inline bool f16_is_finite(std::uint16_t bits) {
  return (bits & 0x7c00u) != 0x7c00u;
}
inline bool bf16_is_finite(std::uint16_t bits) {
  return (bits & 0x7f80u) != 0x7f80u;
}
inline bool f32_is_finite(float value) {
  return (std::bit_cast<std::uint32_t>(value) & 0x7f800000u) != 0x7f800000u;
}

}  // namespace stagformer::internal
