#include "text/deterministic_math.hpp"

#include <bit>
#include <cmath>
#include <cstdint>

#include "base/check.hpp"

namespace stagformer::internal {
namespace {

// ln 2 in two parts; the upper one has 21 trailing zero bits, so that n * kLn2High is exact for every
// exponent n.
constexpr double kLn2High = 0x1.62e42feep-1;
constexpr double kLn2Low = 0x1.a39ef35793c76p-33;
constexpr double kInverseLn2 = 0x1.71547652b82fep+0;
constexpr double kSqrtTwo = 0x1.6a09e667f3bcdp+0;
constexpr std::int64_t kExponentBias = 1023;
constexpr int kFractionBits = 52;

// Highest coefficient first: 1/13!, 1/12!, ..., 1/2!, 1, 1. Truncation is below 2^-57 for |r| <= ln(2) / 2.
constexpr double kExpCoefficients[] = {1.0 / 6227020800.0,
                                       1.0 / 479001600.0,
                                       1.0 / 39916800.0,
                                       1.0 / 3628800.0,
                                       1.0 / 362880.0,
                                       1.0 / 40320.0,
                                       1.0 / 5040.0,
                                       1.0 / 720.0,
                                       1.0 / 120.0,
                                       1.0 / 24.0,
                                       1.0 / 6.0,
                                       0.5,
                                       1.0,
                                       1.0};

// 2/23, 2/21, ..., 2/3: log((1 + s) / (1 - s)) = 2 s + s^3 (2/3 + 2/5 s^2 + ...).
constexpr double kLogCoefficients[] = {2.0 / 23, 2.0 / 21, 2.0 / 19, 2.0 / 17, 2.0 / 15, 2.0 / 13,
                                       2.0 / 11, 2.0 / 9,  2.0 / 7,  2.0 / 5,  2.0 / 3};

template <int N>
double horner(const double (&coefficients)[N], double x) {
  double value = coefficients[0];
  for (int i = 1; i < N; ++i) value = value * x + coefficients[i];
  return value;
}

}  // namespace

double deterministic_exp(double x) {
  STAG_CHECK(x <= 709, x);
  if (x < -708) return 0;
  const double n = std::floor(x * kInverseLn2 + 0.5);
  const double r = (x - n * kLn2High) - n * kLn2Low;
  const auto exponent = static_cast<std::int64_t>(n) + kExponentBias;
  const double power_of_two = std::bit_cast<double>(exponent << kFractionBits);
  return horner(kExpCoefficients, r) * power_of_two;
}

double deterministic_log(double x) {
  const auto bits = std::bit_cast<std::int64_t>(x);
  std::int64_t exponent = (bits >> kFractionBits) - kExponentBias;
  STAG_CHECK(exponent >= -1022 && exponent <= 1023, x);
  const std::int64_t fraction = bits & ((std::int64_t{1} << kFractionBits) - 1);
  double m = std::bit_cast<double>(fraction | (kExponentBias << kFractionBits));  // in [1, 2)
  if (m > kSqrtTwo) {
    m *= 0.5;
    ++exponent;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  const auto e = static_cast<double>(exponent);
  return e * kLn2High + (2 * s + (s * s2 * horner(kLogCoefficients, s2) + e * kLn2Low));
}

}  // namespace stagformer::internal
