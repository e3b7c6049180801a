// 2^x in a fixed sequence of float operations: x = n + f, n the nearest integer (by adding 1.5 * 2^23), a polynomial for 2^f
// on |f| <= 1/2 (least relative error, by reweighted least squares: 2.6e-6), n into the exponent. Numbers only.
#pragma once

namespace gemlet::kernels {
namespace {

constexpr float kPowerLow = -125.0F, kPowerRound = 12582912.0F;
constexpr int kPowerTerms = 5;
constexpr float kPowerPoly[kPowerTerms] = {9.5701e-3F, 5.591586e-2F, 0.24024745F, 0.69312181F, 0.99999926F};

}  // namespace
}  // namespace gemlet::kernels
