// Panel kernels for avx512: one vector holds four consecutive elements of all 16 rows. The eight vectors of a block stay in
// registers while the tokens of a tile pass by; each token's integer sums are one chain of vpdpbusd, and the chains of
// neighbouring tokens overlap. The float sums (kPhases of them for each token) live in L1.
#include "kernels/isa/avx512.h"

#include "kernels/gemm/unpack.h"

namespace gemlet::kernels::avx512 {
namespace {

constexpr int64_t kTileTokens = 16;
constexpr int kSteps = 8;  // vectors of a block

struct Sums {
  __m512 s[kPhases][kTileTokens];
};

inline __m512i broadcast4_512(const void* q) {
  int four = 0;
  std::memcpy(&four, q, 4);
  return _mm512_set1_epi32(four);
}

// Block b of the panel against tokens [t0, t0 + count), added to one phase's sums.
template <class F>
void add_tile_block(const Panel& panel, const QuantRows& x, int64_t t0, int64_t count, int64_t b, __m512* sums) {
  constexpr int kOffset = PanelDot::template offset<F>();
  __m512i w[kSteps];
#pragma GCC unroll 8
  for (int i = 0; i < kSteps; ++i) w[i] = _mm512_loadu_si512(panel.q + b * kPanelBlock + i * kPanelRows * 4);
  const __m512 scale = _mm512_loadu_ps(panel.scale + b * kPanelRows);
  __m512 halves[2];
  for (int h = 0; h < 2 && F::kHasHalves; ++h)
    halves[h] = _mm512_loadu_ps(reinterpret_cast<const float*>(panel.halves + (b * 2 + h) * kPanelRows));
  const __m512 min = F::kHasMin ? _mm512_loadu_ps(panel.min + b * kPanelRows) : _mm512_setzero_ps();
  for (int64_t t = 0; t < count; ++t) {
    const int64_t at = (t0 + t) * x.blocks + b;
    const int8_t* q = x.q + at * kBlock;
    __m512 value;
    if constexpr (F::kHasHalves) {
      static_assert(kOffset == 32);
      const __m512i ones = _mm512_set1_epi32(0x00010001);
      __m512i first = _mm512_madd_epi16(broadcast4_512(x.minus32 + at * 4), ones);
      __m512i second = _mm512_madd_epi16(broadcast4_512(x.minus32 + at * 4 + 2), ones);
#pragma GCC unroll 4
      for (int i = 0; i < kSteps / 2; ++i) {
        first = _mm512_dpbusd_epi32(first, w[i], broadcast4_512(q + 4 * i));
        second = _mm512_dpbusd_epi32(second, w[i + kSteps / 2], broadcast4_512(q + 4 * i + kBlock / 2));
      }
      value =
          _mm512_fmadd_ps(_mm512_cvtepi32_ps(second), halves[1], _mm512_mul_ps(_mm512_cvtepi32_ps(first), halves[0]));
    } else {
      __m512i dot = kOffset == 0 ? _mm512_setzero_si512() : _mm512_set1_epi32(-kOffset * x.sum[at]);
#pragma GCC unroll 8
      for (int i = 0; i < kSteps; ++i) dot = _mm512_dpbusd_epi32(dot, w[i], broadcast4_512(q + 4 * i));
      value = _mm512_cvtepi32_ps(dot);
    }
    __m512 sum = _mm512_fmadd_ps(value, _mm512_mul_ps(scale, _mm512_set1_ps(x.d[at])), sums[t]);
    if (F::kHasMin) sum = _mm512_fnmadd_ps(min, _mm512_set1_ps(x.dsum[at]), sum);
    sums[t] = sum;
  }
}

inline void store_rows(__m512 sum, int64_t rows, float* y) {
  if (rows == kPanelRows) {
    _mm512_storeu_ps(y, sum);
    return;
  }
  float all[kPanelRows];
  _mm512_storeu_ps(all, sum);
  std::memcpy(y, all, static_cast<size_t>(rows) * sizeof(float));
}

template <class F>
void gemm(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t count, float* y, int64_t ldy) {
  Sums sums;
  for (int64_t t0 = 0; t0 < count; t0 += kTileTokens) {
    const int64_t tokens = count - t0 < kTileTokens ? count - t0 : kTileTokens;
    for (int p = 0; p < kPhases; ++p)
      for (int64_t t = 0; t < tokens; ++t) sums.s[p][t] = _mm512_setzero_ps();
    for (int64_t b = 0; b < blocks; ++b) add_tile_block<F>(panel, x, t0, tokens, b, sums.s[b % kPhases]);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int n = kPhases / 2; n > 0; n /= 2)
        for (int p = 0; p < n; ++p) sums.s[p][t] = _mm512_add_ps(sums.s[p][t], sums.s[p + n][t]);
      store_rows(sums.s[0][t], rows, y + (t0 + t) * ldy);
    }
  }
}

template <class F>
void add(Format& format) {
  format.unpack = unpack<F>;
  format.gemm = gemm<F>;
}

}  // namespace

void add_gemm(Table& table) {
  add<FmtQ4_0>(table.formats[0]);
  add<FmtQ5_0>(table.formats[1]);
  add<FmtQ8_0>(table.formats[2]);
  add<FmtQ4_K>(table.formats[3]);
  add<FmtQ5_K>(table.formats[4]);
  add<FmtQ6_K>(table.formats[5]);
}

}  // namespace gemlet::kernels::avx512
