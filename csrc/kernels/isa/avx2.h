// int8 products without VNNI: vpmaddubsw adds pairs into 16 bits, which hold several small products before widening.
// Zen 3 and Golden Cove: vpmaddubsw and vpmaddwd 2 a cycle, latency 3 to 5; so about 64 multiply-adds a cycle at 4 bits.
#pragma once

#include "kernels/isa/x256.h"

namespace gemlet::kernels {
namespace {

struct Dot {
  static constexpr bool kSumsIn16Bits = true;

  // 32 products of u (unsigned, or signed where kSigned) and a, as eight sums of four.
  template <class F>
  static __m256i block(__m256i u, __m256i a) {
    const __m256i pairs =
        F::kSigned ? _mm256_maddubs_epi16(_mm256_abs_epi8(u), _mm256_sign_epi8(a, u)) : _mm256_maddubs_epi16(u, a);
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
  }
};

// Panel products: pairs are added in 16 bits as long as they fit (eight steps at 4 bits, four at 5, two at 6), then
// widened. Signed bytes go as |w| * sign(w) a and are widened at each step.
struct PanelDot {
  template <class F>
  static constexpr int offset() {
    return F::kOffset;
  }
  template <class F>
  static __m256i panel_bytes(__m256i u) {
    return u;
  }

  // Steps of four elements that 16 bits hold: each pair is at most 2 * kMax * 127.
  template <class F>
  static constexpr int run() {
    return 32767 / (2 * F::kMax * 127) > 8 ? 8 : 32767 / (2 * F::kMax * 127);
  }

  // Pins a running sum to a register here: left alone, compilers reorder the unrolled steps and spill half of them.
  static void keep(__m256i& v) { __asm__("" : "+x"(v)); }

  template <class F, int NT>
  static void sums(const uint8_t* w, const int8_t* const* q, __m256i (&dot)[NT][2]) {
    constexpr int kSteps = 8, kRun = F::kSigned ? 1 : run<F>();
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int step = 0; step < kSteps; step += kRun) {
      __m256i pairs[NT][2];
#pragma GCC unroll 8
      for (int i = step; i < step + kRun; ++i) {
        __m256i w0 = load(w + i * kPanelRows * 4), w1 = load(w + i * kPanelRows * 4 + 32);
        const __m256i sign0 = w0, sign1 = w1;
        if (F::kSigned) w0 = _mm256_abs_epi8(w0), w1 = _mm256_abs_epi8(w1);
#pragma GCC unroll 4
        for (int t = 0; t < NT; ++t) {
          const __m256i a = broadcast4(q[t] + i * 4);
          const __m256i p0 = _mm256_maddubs_epi16(w0, F::kSigned ? _mm256_sign_epi8(a, sign0) : a);
          const __m256i p1 = _mm256_maddubs_epi16(w1, F::kSigned ? _mm256_sign_epi8(a, sign1) : a);
          pairs[t][0] = i == step ? p0 : _mm256_add_epi16(pairs[t][0], p0);
          pairs[t][1] = i == step ? p1 : _mm256_add_epi16(pairs[t][1], p1);
          keep(pairs[t][0]), keep(pairs[t][1]);
        }
      }
#pragma GCC unroll 4
      for (int t = 0; t < NT; ++t) {
        for (int h = 0; h < 2; ++h) {
          const __m256i wide = _mm256_madd_epi16(pairs[t][h], ones);
          dot[t][h] = step == 0 ? wide : _mm256_add_epi32(dot[t][h], wide);
          keep(dot[t][h]);
        }
      }
    }
  }

  // A half's scale as the pair that vpmaddwd multiplies with.
  static __m256i half_scale(__m256i s) { return _mm256_blend_epi16(s, _mm256_slli_epi32(s, 16), 0xAA); }

  // Each half of the block: eight products a lane, of u - offset and activations, fit 16 bits, so they may be summed
  // modulo 2^16 of u alone, beginning with what the offset takes away. Widening multiplies by the half's scale.
  template <class F, int NT>
  static void scaled_sums(const uint8_t* w, const int8_t* const* q, const int16_t* const* minus, const int32_t* scale,
                          __m256 (&values)[NT][2]) {
    static_assert(F::kOffset == 32 && 2 * F::kMax * 127 <= INT16_MAX && 8 * 32 * 127 <= INT16_MAX);
    __m256i first[NT][2];
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      __m256i pairs[NT][2];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        const uint8_t* rows = w + (half * 4 + i) * kPanelRows * 4;
        const __m256i w0 = load(rows), w1 = load(rows + 32);
#pragma GCC unroll 4
        for (int t = 0; t < NT; ++t) {
          const __m256i a = broadcast4(q[t] + half * 16 + i * 4);
          const __m256i p0 = _mm256_maddubs_epi16(w0, a), p1 = _mm256_maddubs_epi16(w1, a);
          if (i == 0) pairs[t][0] = pairs[t][1] = broadcast4(minus[t] + half * 2);
          pairs[t][0] = _mm256_add_epi16(pairs[t][0], p0);
          pairs[t][1] = _mm256_add_epi16(pairs[t][1], p1);
          keep(pairs[t][0]), keep(pairs[t][1]);
        }
      }
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const __m256i s = load(scale + half * kPanelRows + h * 8);
#pragma GCC unroll 4
        for (int t = 0; t < NT; ++t) {
          const __m256i wide = _mm256_madd_epi16(pairs[t][h], s);
          if (half == 0)
            first[t][h] = wide;
          else
            values[t][h] = _mm256_cvtepi32_ps(_mm256_add_epi32(first[t][h], wide));
        }
      }
    }
  }
};

// sum + a0 b0 + a1 b1 for pairs of int16. The additions are written out: compilers make each a copy and an addition.
struct PairDot {
  static __m256i add(__m256i sum, __m256i a, __m256i b) {
    __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(_mm256_madd_epi16(a, b)));
    return sum;
  }
  // The same for two vectors of rows and two of x: four products, then four additions, which keeps more of the additions
  // off the two ports that multiply (Zen 3: 25.4 multiply-adds a cycle against 24.0 one after the other, of 32).
  static void add_four(__m256i* first, __m256i* second, __m256i w0, __m256i w1, __m256i x0, __m256i x1) {
    __m256i p0, p1;
    __asm__(
        "vpmaddwd %[w0], %[x0], %[p0]\n\t"
        "vpmaddwd %[w0], %[x1], %[p1]\n\t"
        "vpmaddwd %[w1], %[x0], %[x0]\n\t"
        "vpmaddwd %[w1], %[x1], %[x1]\n\t"
        "vpaddd %[p0], %[a], %[a]\n\t"
        "vpaddd %[p1], %[c], %[c]\n\t"
        "vpaddd %[x0], %[b], %[b]\n\t"
        "vpaddd %[x1], %[d], %[d]"
        : [a] "+x"(first[0]), [b] "+x"(first[1]), [c] "+x"(second[0]), [d] "+x"(second[1]), [x0] "+x"(x0),
          [x1] "+x"(x1), [p0] "=&x"(p0), [p1] "=&x"(p1)
        : [w0] "x"(w0), [w1] "x"(w1));
  }
};

}  // namespace
}  // namespace gemlet::kernels
