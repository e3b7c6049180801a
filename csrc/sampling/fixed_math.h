// exp and log in double, the same bits on every machine and with every C library, for the probabilities of sampling.
// Only +, -, *, / and bit moves, in one written order and without contraction; not a general libm: see each domain.
#pragma once

#include <bit>
#include <cstdint>

namespace gemlet::sampling {

// Two doubles in a register that every x86-64 and AArch64 has, because compilers do not vectorise the plain loop. Each
// lane goes through the same IEEE operations as a scalar would, so wider registers would change nothing.
using Two = double __attribute__((vector_size(16)));
using TwoBits = uint64_t __attribute__((vector_size(16)));

// e^x for x <= 0, relative error below 1.2e-12 (logits carry 6e-8); exactly 1 at 0, exactly 0 for x <= -700, -inf and NaN.
inline Two fixed_exp(Two x) {
  constexpr double kRound = 0x1.8p52;  // adding it leaves the nearest integer in the low bits
  constexpr double kLog2E = 0x1.71547652b82fep+0, kLn2 = 0x1.62e42fefa39efp-1;
  const Two shifted = x * kLog2E + kRound;
  const Two r = x - (shifted - kRound) * kLn2;
  // Minimax polynomial of degree 8 for e^r on |r| <= ln(2) / 2 with p(0) = 1 (Remez, relative error 1.1e-12), in
  // pairs, which is a shorter chain than one term after the other.
  const Two r2 = r * r, r4 = r2 * r2;
  const Two p01 = 0x1.ffffffffc495bp-1 * r + 1.0;
  const Two p23 = 0x1.555555b5157a1p-3 * r + 0x1.ffffffff950b7p-2;
  const Two p45 = 0x1.11106a95e8a15p-7 * r + 0x1.55555662246a4p-5;
  const Two p67 = 0x1.a1c76d4fbc2f3p-13 * r + 0x1.6c1423cde9098p-10;
  const Two p = (p01 + p23 * r2) + r4 * ((p45 + p67 * r2) + r4 * 0x1.a4278c26ba2fap-16);
  const Two scale = (Two)(((TwoBits)shifted + 1023U) << 52U);  // 2^k
  return (Two)((TwoBits)(p * scale) & (TwoBits)(x > -700.0));
}
inline double fixed_exp(double x) { return fixed_exp(Two{x, x})[0]; }

// The natural logarithm of a normal positive x, absolute error below 1e-15 near 1 and relative error below 4e-16 away from it.
inline double fixed_log(double x) {
  uint64_t bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = static_cast<int64_t>(bits >> 52U) - 1023;
  double m = std::bit_cast<double>((bits & 0x000fffffffffffffU) | 0x3ff0000000000000U);  // [1, 2)
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++exponent;
  }
  // ln m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172: the series to s^21.
  const double s = (m - 1.0) / (m + 1.0);
  const double z = s * s;
  double series = 0.0;
  for (int odd = 21; odd >= 3; odd -= 2) series = (series + 1.0 / odd) * z;
  constexpr double kLn2High = 0x1.62e42feep-1, kLn2Low = 0x1.a39ef35793c76p-33;  // high: 32 bits, k times it is exact
  const double k = static_cast<double>(exponent);
  return k * kLn2High + (2.0 * s + (2.0 * s * series + k * kLn2Low));
}

}  // namespace gemlet::sampling
