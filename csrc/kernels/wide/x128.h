// Products in 16 bits with 128-bit vectors: tiles of 16 panel rows x 4 rows of x, lanes being panel rows; smlal multiplies
// by a lane of x. ld2 takes the pairs of a panel apart.
#pragma once

#include "kernels/isa/x128.h"
#include "kernels/wide/power.h"

namespace gemlet::kernels {
namespace {

constexpr int kWideTile = 4;

// Rows 4 h .. 4 h + 3 of one element, times lane kLane of each x.
template <int NT, int kLane>
void add_element(int16x8_t low, int16x8_t high, const int16x8_t (&x)[NT], int32x4_t (&dot)[NT][4]) {
#pragma GCC unroll 4
  for (int t = 0; t < NT; ++t) {
    dot[t][0] = vmlal_laneq_s16(dot[t][0], vget_low_s16(low), x[t], kLane);
    dot[t][1] = vmlal_high_laneq_s16(dot[t][1], low, x[t], kLane);
    dot[t][2] = vmlal_laneq_s16(dot[t][2], vget_low_s16(high), x[t], kLane);
    dot[t][3] = vmlal_high_laneq_s16(dot[t][3], high, x[t], kLane);
  }
}

template <int NT, int kPair>
void add_pair(const int16_t* w, const int16x8_t (&x)[NT], int32x4_t (&dot)[NT][4]) {
  const int16x8x2_t low = vld2q_s16(w + kPair * 2 * kPanelRows), high = vld2q_s16(w + kPair * 2 * kPanelRows + 16);
  add_element<NT, 2 * kPair>(low.val[0], high.val[0], x, dot);
  add_element<NT, 2 * kPair + 1>(low.val[1], high.val[1], x, dot);
}

template <int NT>
void wide_tile(const WidePanel& panel, int64_t rows, const WideRows& x, int64_t t0, float* y, int64_t ldy) {
  float32x4_t sums[NT][4];
  for (int t = 0; t < NT; ++t)
    for (int h = 0; h < 4; ++h) sums[t][h] = vdupq_n_f32(0);
  for (int64_t first = 0; first < panel.k; first += kWideBlock) {
    const int64_t end = panel.k - first < kWideBlock ? panel.k : first + kWideBlock;
    int32x4_t dot[NT][4];
    for (int t = 0; t < NT; ++t)
      for (int h = 0; h < 4; ++h) dot[t][h] = vdupq_n_s32(0);
    for (int64_t i = first; i < end; i += 8) {
      const int16_t* w = panel.q + i * kPanelRows;
      int16x8_t q[NT];
      for (int t = 0; t < NT; ++t) q[t] = vld1q_s16(x.q + (t0 + t) * x.ld + i);
      add_pair<NT, 0>(w, q, dot), add_pair<NT, 1>(w, q, dot);
      add_pair<NT, 2>(w, q, dot), add_pair<NT, 3>(w, q, dot);
    }
    for (int t = 0; t < NT; ++t) {
      const float d = x.d[(t0 + t) * x.blocks + first / kWideBlock];
      for (int h = 0; h < 4; ++h) sums[t][h] = vfmaq_n_f32(sums[t][h], vcvtq_f32_s32(dot[t][h]), d);
    }
  }
  for (int t = 0; t < NT; ++t) {
    float all[kPanelRows];
    for (int h = 0; h < 4; ++h) vst1q_f32(all + 4 * h, vmulq_f32(sums[t][h], vld1q_f32(panel.scale + 4 * h)));
    std::memcpy(y + (t0 + t) * ldy, all, static_cast<size_t>(rows) * sizeof(float));
  }
}

inline void gemm_wide(const WidePanel& panel, int64_t rows, const WideRows& x, int64_t count, float* y, int64_t ldy) {
  int64_t t = 0;
  for (; t + kWideTile <= count; t += kWideTile) wide_tile<kWideTile>(panel, rows, x, t, y, ldy);
  for (; t < count; ++t) wide_tile<1>(panel, rows, x, t, y, ldy);
}

inline float32x4_t power_of_two(float32x4_t x) {
  x = vmaxq_f32(x, vdupq_n_f32(kPowerLow));  // NaN stays
  const float32x4_t round = vdupq_n_f32(kPowerRound), shifted = vaddq_f32(x, round);
  const float32x4_t f = vsubq_f32(x, vsubq_f32(shifted, round));
  float32x4_t p = vdupq_n_f32(kPowerPoly[0]);
#pragma GCC unroll 4
  for (int i = 1; i < kPowerTerms; ++i) p = vfmaq_f32(vdupq_n_f32(kPowerPoly[i]), p, f);
  const int32x4_t whole = vshlq_n_s32(vreinterpretq_s32_f32(shifted), 23);
  return vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(p), whole));
}

inline float weigh(const float* scores, int64_t n, int16_t* shares, float* max) {
  float32x4_t top = vdupq_n_f32(-__builtin_inff());
  for (int64_t i = 0; i < n; i += 4) top = vmaxnmq_f32(top, vld1q_f32(scores + i));  // no number is not the largest
  *max = vmaxnmvq_f32(top);
  const float32x4_t most = vdupq_n_f32(*max);
  float32x4_t sums[4];
  for (float32x4_t& s : sums) s = vdupq_n_f32(0);
  for (int64_t i = 0; i < n; i += 16)
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) {
      const float32x4_t p = power_of_two(vsubq_f32(vld1q_f32(scores + i + 4 * h), most));
      sums[h] = vaddq_f32(sums[h], p);
      vst1_s16(shares + i + 4 * h, vqmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(p, float{kWideShare}))));
    }
  return fold8(vaddq_f32(sums[0], sums[2]), vaddq_f32(sums[1], sums[3]));
}

inline void add_wide_all(Table& table) {
  table.gemm_wide = gemm_wide;
  table.weigh = weigh;
}

}  // namespace
}  // namespace gemlet::kernels
