// exp in a fixed sequence of float operations, so that every set computes the same bits.
// Cody and Waite reduction x = n ln2 + r, then the degree-6 polynomial of least relative error
// on |r| <= ln2 / 2 whose first coefficients are 1 (found by reweighted least squares); below 1 ulp on the clamped range.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace gemlet::kernels {
namespace {

constexpr float kExpLow = -87.0F, kExpHigh = 88.0F;
constexpr float kLog2E = 1.44269504F, kLn2High = 0.693145752F, kLn2Low = 1.42860677e-6F;
constexpr float kExpPoly[] = {1.38145417e-3F, 8.36874545e-3F, 4.1668389e-2F, 1.66665211e-1F, 0.49999994F, 1.0F, 1.0F};

// Of erfc(a) = t (p0 t^4 + ... + p4) exp(-a^2) with t = 1 / (1 + scale a), halved.
constexpr float kErfcScale = 0.3275911F;
constexpr float kErfcPoly[] = {0.5307027145F, -0.7265760135F, 0.7107068705F, -0.142248368F, 0.127414796F};

inline float exp_fixed(float x) {
  x = x > kExpLow ? x : kExpLow;
  x = x < kExpHigh ? x : kExpHigh;
  const float n = std::nearbyint(x * kLog2E);
  float r = std::fma(n, -kLn2High, x);
  r = std::fma(n, -kLn2Low, r);
  float p = kExpPoly[0];
  for (int i = 1; i < 7; ++i) p = std::fma(p, r, kExpPoly[i]);
  const int32_t bits = (static_cast<int32_t>(n) + 127) << 23;
  float power = 0;
  std::memcpy(&power, &bits, 4);
  return p * power;
}

}  // namespace
}  // namespace gemlet::kernels
