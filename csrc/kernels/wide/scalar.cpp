// Products in 16 bits in plain loops, and scores becoming shares.
#include "kernels/isa/scalar.h"
#include "kernels/wide/power.h"

namespace gemlet::kernels::scalar {
namespace {

void gemm_wide(const WidePanel& panel, int64_t rows, const WideRows& x, int64_t count, float* y, int64_t ldy) {
  for (int64_t t = 0; t < count; ++t)
    for (int64_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (int64_t first = 0; first < panel.k; first += kWideBlock) {
        const int64_t end = first + kWideBlock < panel.k ? first + kWideBlock : panel.k;
        int32_t dot = 0;
        for (int64_t i = first; i < end; ++i) dot += panel.q[(i / 2 * kPanelRows + r) * 2 + i % 2] * x.q[t * x.ld + i];
        sum = std::fma(static_cast<float>(dot), x.d[t * x.blocks + first / kWideBlock], sum);
      }
      y[t * ldy + r] = sum * panel.scale[r];
    }
}

float power_of_two(float x) {
  x = x > kPowerLow ? x : x < kPowerLow ? kPowerLow : x;  // NaN stays
  const float shifted = x + kPowerRound, f = x - (shifted - kPowerRound);
  float p = kPowerPoly[0];
  for (int i = 1; i < kPowerTerms; ++i) p = std::fma(p, f, kPowerPoly[i]);
  uint32_t bits = 0, whole = 0;
  std::memcpy(&bits, &p, 4), std::memcpy(&whole, &shifted, 4);
  bits += whole << 23;
  std::memcpy(&p, &bits, 4);
  return std::isnan(x) ? x : p;
}

float weigh(const float* scores, int64_t n, int16_t* shares, float* max) {
  float most = -INFINITY, sums[kFloatPhases] = {};
  for (int64_t i = 0; i < n; ++i) most = scores[i] > most ? scores[i] : most;
  for (int64_t i = 0; i < n; ++i) {
    const float p = power_of_two(scores[i] - most);
    sums[i % kFloatPhases] += p;
    shares[i] = std::isnan(p) ? int16_t{0} : static_cast<int16_t>(std::nearbyint(p * float{kWideShare}));
  }
  *max = most;
  return fold<kFloatPhases>(sums);
}

}  // namespace

void add_wide(Table& table) {
  table.gemm_wide = gemm_wide;
  table.weigh = weigh;
}

}  // namespace gemlet::kernels::scalar
