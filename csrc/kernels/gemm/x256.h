// Panels of 16 weight rows against tokens: unpacked once a token block, then multiplied in tiles of 16 rows x 4 tokens.
// Lanes are rows, so a block's scale is one vector and no horizontal sum is needed. The float sums (kPhases of them) live
// in L1; the integer sums of a block in registers. `PanelDot` comes from the including file's set.
#pragma once

#include "kernels/gemm/unpack.h"

namespace gemlet::kernels {
namespace {

constexpr int kTileTokens = 4;

// The float sums of a tile: phase, token, half of the 16 rows.
template <int NT>
struct Sums {
  __m256 s[kPhases][NT][2];
};

// Block b: the integers of NT tokens x 16 rows, as floats.
template <class F, int NT>
void block_sums(const Panel& panel, const QuantRows& x, int64_t t0, int64_t b, __m256 (&values)[NT][2]) {
  const uint8_t* w = panel.q + b * kPanelBlock;
  const int8_t* q[NT];
  for (int t = 0; t < NT; ++t) q[t] = x.q + ((t0 + t) * x.blocks + b) * kBlock;
  if constexpr (F::kHasHalves) {
    const int16_t* minus[NT];
    for (int t = 0; t < NT; ++t) minus[t] = x.minus32 + ((t0 + t) * x.blocks + b) * 4;
    PanelDot::template scaled_sums<F, NT>(w, q, minus, panel.halves + b * 2 * kPanelRows, values);
  } else {
    __m256i dot[NT][2];
    PanelDot::template sums<F, NT>(w, q, dot);
    constexpr int kOffset = PanelDot::template offset<F>();
    constexpr int kShift = __builtin_ctz(kOffset == 0 ? 1 : kOffset);
    for (int t = 0; t < NT && kOffset != 0; ++t) {
      const int32_t* sum = x.sum + (t0 + t) * x.blocks + b;
      const __m256i off = _mm256_slli_epi32(_mm256_set1_epi32(*sum), kShift);  // not kOffset * sum: set1 from memory
      for (int h = 0; h < 2; ++h) dot[t][h] = _mm256_sub_epi32(dot[t][h], off);
    }
    for (int t = 0; t < NT; ++t)
      for (int h = 0; h < 2; ++h) values[t][h] = _mm256_cvtepi32_ps(dot[t][h]);
  }
}

template <class F, int NT>
void add_tile_block(const Panel& panel, const QuantRows& x, int64_t t0, int64_t b, __m256 (&sums)[NT][2]) {
  __m256 values[NT][2];
  block_sums<F, NT>(panel, x, t0, b, values);
  const __m256 s0 = _mm256_loadu_ps(panel.scale + b * kPanelRows);
  const __m256 s1 = _mm256_loadu_ps(panel.scale + b * kPanelRows + 8);
  for (int t = 0; t < NT; ++t) {
    const __m256 d = _mm256_set1_ps(x.d[(t0 + t) * x.blocks + b]);
    sums[t][0] = _mm256_fmadd_ps(values[t][0], _mm256_mul_ps(s0, d), sums[t][0]);
    sums[t][1] = _mm256_fmadd_ps(values[t][1], _mm256_mul_ps(s1, d), sums[t][1]);
  }
  if (F::kHasMin) {
    const __m256 m0 = _mm256_loadu_ps(panel.min + b * kPanelRows), m1 = _mm256_loadu_ps(panel.min + b * kPanelRows + 8);
    for (int t = 0; t < NT; ++t) {
      const __m256 dsum = _mm256_set1_ps(x.dsum[(t0 + t) * x.blocks + b]);
      sums[t][0] = _mm256_fnmadd_ps(m0, dsum, sums[t][0]);
      sums[t][1] = _mm256_fnmadd_ps(m1, dsum, sums[t][1]);
    }
  }
}

// Outputs with rows this long (the head's) are gone from the caches before they are read: whole lines go past them, and
// are not fetched to be written. `y` is a line's beginning where the output and its rows begin at lines.
constexpr int64_t kStreamedRow = 65536;

inline void store_rows(__m256 low, __m256 high, int64_t rows, bool stream, float* y) {
  if (rows == kPanelRows && stream && reinterpret_cast<uintptr_t>(y) % 64 == 0) {
    _mm256_stream_ps(y, low);
    _mm256_stream_ps(y + 8, high);
    return;
  }
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

template <class F, int NT>
void tile(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t t0, float* y, int64_t ldy) {
  Sums<NT> sums;
  for (int p = 0; p < kPhases; ++p)
    for (int t = 0; t < NT; ++t) sums.s[p][t][0] = sums.s[p][t][1] = _mm256_setzero_ps();
  for (int64_t b = 0; b < blocks; ++b) add_tile_block<F, NT>(panel, x, t0, b, sums.s[b % kPhases]);
  for (int n = kPhases / 2; n > 0; n /= 2)
    for (int p = 0; p < n; ++p)
      for (int t = 0; t < NT; ++t)
        for (int h = 0; h < 2; ++h) sums.s[p][t][h] = _mm256_add_ps(sums.s[p][t][h], sums.s[p + n][t][h]);
  const bool stream = ldy >= kStreamedRow;
  for (int t = 0; t < NT; ++t) store_rows(sums.s[0][t][0], sums.s[0][t][1], rows, stream, y + (t0 + t) * ldy);
}

template <class F>
void gemm(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t count, float* y, int64_t ldy) {
  int64_t t = 0;
  for (; t + kTileTokens <= count; t += kTileTokens) tile<F, kTileTokens>(panel, rows, blocks, x, t, y, ldy);
  for (; t + 2 <= count; t += 2) tile<F, 2>(panel, rows, blocks, x, t, y, ldy);
  for (; t < count; ++t) tile<F, 1>(panel, rows, blocks, x, t, y, ldy);
  if (ldy >= kStreamedRow) _mm_sfence();  // before another thread is told that the rows are there
}

template <class F>
void add(Format& format) {
  format.unpack = unpack<F>;
  format.gemm = gemm<F>;
}

inline void add_all(Table& table) {
  add<FmtQ4_0>(table.formats[0]);
  add<FmtQ5_0>(table.formats[1]);
  add<FmtQ8_0>(table.formats[2]);
  add<FmtQ4_K>(table.formats[3]);
  add<FmtQ5_K>(table.formats[4]);
  add<FmtQ6_K>(table.formats[5]);
}

}  // namespace
}  // namespace gemlet::kernels
