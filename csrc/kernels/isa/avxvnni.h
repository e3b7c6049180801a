// int8 products with 256-bit vpdpbusd (VEX encoded): four products straight into 32 bits. Signed weights are moved to
// unsigned by adding 128 (one xor), and 128 times the activations' sum is taken away again.
// Alder Lake: vpdpbusd 2 a cycle, latency 5.
#pragma once

#include "kernels/isa/x256.h"

namespace gemlet::kernels {
namespace {

struct Dot {
  static constexpr bool kSumsIn16Bits = false;  // four products at once are better

  template <class F>
  static __m256i block(__m256i u, __m256i a) {
    if (F::kSigned) return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), _mm256_abs_epi8(u), _mm256_sign_epi8(a, u));
    return _mm256_dpbusd_avx_epi32(_mm256_setzero_si256(), u, a);
  }
};

struct PanelDot {
  template <class F>
  static constexpr int offset() {
    return F::kSigned ? 128 : F::kOffset;
  }
  template <class F>
  static __m256i panel_bytes(__m256i u) {
    return F::kSigned ? _mm256_xor_si256(u, _mm256_set1_epi8(-128)) : u;
  }

  // A half's scale as a float: integers are widened to floats before they are multiplied, exactly.
  static __m256i half_scale(__m256i s) { return _mm256_castps_si256(_mm256_cvtepi32_ps(s)); }

  // Adds steps [first, end) of four elements.
  template <int NT>
  static void add_steps(const uint8_t* w, const int8_t* const* q, int first, int end, __m256i (&dot)[NT][2]) {
#pragma GCC unroll 8
    for (int i = first; i < end; ++i) {
      const __m256i w0 = load(w + i * kPanelRows * 4), w1 = load(w + i * kPanelRows * 4 + 32);
#pragma GCC unroll 4
      for (int t = 0; t < NT; ++t) {
        const __m256i a = broadcast4(q[t] + i * 4);
        dot[t][0] = _mm256_dpbusd_avx_epi32(dot[t][0], w0, a);
        dot[t][1] = _mm256_dpbusd_avx_epi32(dot[t][1], w1, a);
      }
    }
  }

  template <class F, int NT>
  static void sums(const uint8_t* w, const int8_t* const* q, __m256i (&dot)[NT][2]) {
    for (int t = 0; t < NT; ++t) dot[t][0] = dot[t][1] = _mm256_setzero_si256();
    add_steps<NT>(w, q, 0, 8, dot);
  }

  // The halves of the block with their scales. The offset's share comes as two sums for each half.
  template <class F, int NT>
  static void scaled_sums(const uint8_t* w, const int8_t* const* q, const int16_t* const* minus, const int32_t* scale,
                          __m256 (&values)[NT][2]) {
    static_assert(F::kOffset == 32);
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i dot[NT][2];
      for (int t = 0; t < NT; ++t)
        dot[t][0] = dot[t][1] = _mm256_madd_epi16(broadcast4(minus[t] + half * 2), _mm256_set1_epi16(1));
      add_steps<NT>(w, q, half * 4, half * 4 + 4, dot);
      for (int h = 0; h < 2; ++h) {
        const __m256 s = _mm256_castsi256_ps(load(scale + half * kPanelRows + h * 8));
        for (int t = 0; t < NT; ++t) {
          const __m256 v = _mm256_cvtepi32_ps(dot[t][h]);
          values[t][h] = half == 0 ? _mm256_mul_ps(v, s) : _mm256_fmadd_ps(v, s, values[t][h]);
        }
      }
    }
  }
};

// sum + a0 b0 + a1 b1 for pairs of int16.
struct PairDot {
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }
  static void add_four(__m256i* first, __m256i* second, __m256i w0, __m256i w1, __m256i x0, __m256i x1) {
    first[0] = add(first[0], w0, x0), first[1] = add(first[1], w1, x0);
    second[0] = add(second[0], w0, x1), second[1] = add(second[1], w1, x1);
  }
};

}  // namespace
}  // namespace gemlet::kernels
