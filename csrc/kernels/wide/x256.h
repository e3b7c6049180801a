// Products in 16 bits with 256-bit vectors: tiles of 16 panel rows x 4 rows of x, lanes being panel rows. A pair of products
// goes into 32 bits at once (vpmaddwd, two a cycle), so that nothing is widened; float sums stay in L1.
#pragma once

#include "kernels/isa/x256.h"
#include "kernels/wide/power.h"

namespace gemlet::kernels {
namespace {

constexpr int kWideTile = 4;
// A call would keep the sums in memory.
#define GEMLET_INLINE __attribute__((always_inline)) inline

inline __m256i broadcast_pair(const int16_t* q) {
  int two = 0;
  std::memcpy(&two, q, 4);
  return _mm256_set1_epi32(two);
}

// Four pairs of each row.
template <int NT>
GEMLET_INLINE void add_pairs(const int16_t* w, const int16_t* const* q, int64_t from, __m256i (&dot)[NT][2]) {
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256i w0 = load(w + i * 2 * kPanelRows), w1 = load(w + i * 2 * kPanelRows + 16);
    if constexpr (NT == 1) {
      const __m256i x = broadcast_pair(q[0] + from + 2 * i);
      dot[0][0] = PairDot::add(dot[0][0], w0, x);
      dot[0][1] = PairDot::add(dot[0][1], w1, x);
    } else {
#pragma GCC unroll 2
      for (int t = 0; t < NT; t += 2)
        PairDot::add_four(dot[t], dot[t + 1], w0, w1, broadcast_pair(q[t] + from + 2 * i),
                          broadcast_pair(q[t + 1] + from + 2 * i));
    }
  }
}

inline void store_some(__m256 low, __m256 high, int64_t rows, float* y) {
  if (rows == kPanelRows) {
    _mm256_storeu_ps(y, low);
    _mm256_storeu_ps(y + 8, high);
    return;
  }
  float all[kPanelRows];
  _mm256_storeu_ps(all, low);
  _mm256_storeu_ps(all + 8, high);
  std::memcpy(y, all, static_cast<size_t>(rows) * sizeof(float));
}

// Products of n consecutive values, kWideBlock or less, as float sums.
template <int NT>
GEMLET_INLINE void add_block(const int16_t* w, const int16_t* const* q, int64_t n, const float* d, int64_t blocks,
                             __m256 (&sums)[NT][2]) {
  __m256i dot[NT][2];
  for (int t = 0; t < NT; ++t) dot[t][0] = dot[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 1
  for (int64_t i = 0; i < n; i += 8) add_pairs<NT>(w + i * kPanelRows, q, i, dot);
  for (int t = 0; t < NT; ++t) {
    const __m256 scale = _mm256_set1_ps(d[t * blocks]);
    for (int h = 0; h < 2; ++h) sums[t][h] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot[t][h]), scale, sums[t][h]);
  }
}

template <int NT>
GEMLET_INLINE void wide_tile(const WidePanel& panel, int64_t rows, const WideRows& x, int64_t t0, float* y,
                             int64_t ldy) {
  const int16_t* q[NT];
  __m256 sums[NT][2];
  for (int t = 0; t < NT; ++t) q[t] = x.q + (t0 + t) * x.ld, sums[t][0] = sums[t][1] = _mm256_setzero_ps();
  const int16_t* w = panel.q;
  const float* d = x.d + t0 * x.blocks;
  int64_t left = panel.k;
  for (; left >= kWideBlock; left -= kWideBlock, w += kWideBlock * kPanelRows, ++d) {
    add_block<NT>(w, q, kWideBlock, d, x.blocks, sums);
    for (int t = 0; t < NT; ++t) q[t] += kWideBlock;
  }
  if (left > 0) add_block<NT>(w, q, left, d, x.blocks, sums);
  const __m256 s0 = _mm256_loadu_ps(panel.scale), s1 = _mm256_loadu_ps(panel.scale + 8);
  for (int t = 0; t < NT; ++t)
    store_some(_mm256_mul_ps(sums[t][0], s0), _mm256_mul_ps(sums[t][1], s1), rows, y + (t0 + t) * ldy);
}

inline void gemm_wide(const WidePanel& panel, int64_t rows, const WideRows& x, int64_t count, float* y, int64_t ldy) {
  int64_t t = 0;
  for (; t + kWideTile <= count; t += kWideTile) wide_tile<kWideTile>(panel, rows, x, t, y, ldy);
  for (; t < count; ++t) wide_tile<1>(panel, rows, x, t, y, ldy);
}

inline __m256 power_of_two(__m256 x) {
  x = _mm256_max_ps(_mm256_set1_ps(kPowerLow), x);  // NaN stays
  const __m256 round = _mm256_set1_ps(kPowerRound), shifted = _mm256_add_ps(x, round);
  const __m256 f = _mm256_sub_ps(x, _mm256_sub_ps(shifted, round));
  __m256 p = _mm256_set1_ps(kPowerPoly[0]);
#pragma GCC unroll 4
  for (int i = 1; i < kPowerTerms; ++i) p = _mm256_fmadd_ps(p, f, _mm256_set1_ps(kPowerPoly[i]));
  const __m256i whole = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(p), whole));
}

inline float weigh(const float* scores, int64_t n, int16_t* shares, float* max) {
  __m256 low = _mm256_set1_ps(-__builtin_inff()), high = low;
  for (int64_t i = 0; i < n; i += 16) {  // a score that is no number is not the largest
    low = _mm256_max_ps(_mm256_loadu_ps(scores + i), low);
    high = _mm256_max_ps(_mm256_loadu_ps(scores + i + 8), high);
  }
  low = _mm256_max_ps(low, high);
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  *max = _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
  const __m256 most = _mm256_set1_ps(*max), unit = _mm256_set1_ps(float{kWideShare});
  __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t i = 0; i < n; i += 16) {
    __m256i wide[2];
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      const __m256 p = power_of_two(_mm256_sub_ps(_mm256_loadu_ps(scores + i + 8 * h), most));
      sums[h] = _mm256_add_ps(sums[h], p);
      wide[h] = _mm256_cvtps_epi32(_mm256_mul_ps(p, unit));
    }
    const __m256i both = _mm256_permute4x64_epi64(_mm256_packs_epi32(wide[0], wide[1]), 0xD8);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(shares + i), both);
  }
  return fold8(_mm256_add_ps(sums[0], sums[1]));
}

#undef GEMLET_INLINE

inline void add_wide_all(Table& table) {
  table.gemm_wide = gemm_wide;
  table.weigh = weigh;
}

}  // namespace
}  // namespace gemlet::kernels
