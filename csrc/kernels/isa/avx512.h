// AVX-512 with F, BW, DQ, VL and VNNI: the 256-bit building blocks in EVEX encoding (32 registers), 256-bit vpdpbusd for
// the products of one block, and 512-bit vectors where 16 lanes are natural: panel rows, float phases, channels.
// Ice Lake: 512-bit vpdpbusd 1 a cycle, latency 5; Sapphire Rapids 2 a cycle.
#pragma once

#include "kernels/isa/x256.h"

namespace gemlet::kernels {
namespace {

struct Dot {
  static constexpr bool kSumsIn16Bits = false;  // four products at once are better

  // 32 products of u (unsigned, or signed where kSigned) and a, as eight sums of four.
  template <class F>
  static __m256i block(__m256i u, __m256i a) {
    if (F::kSigned) return _mm256_dpbusd_epi32(_mm256_setzero_si256(), _mm256_abs_epi8(u), _mm256_sign_epi8(a, u));
    return _mm256_dpbusd_epi32(_mm256_setzero_si256(), u, a);
  }
};

// Signed weights are moved to unsigned in the panel by adding 128 (one xor); 128 times the activations' sum comes off.
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
};

// sum + a0 b0 + a1 b1 for pairs of int16.
struct PairDot {
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return _mm256_dpwssd_epi32(sum, a, b); }
  static void add_four(__m256i* first, __m256i* second, __m256i w0, __m256i w1, __m256i x0, __m256i x1) {
    first[0] = add(first[0], w0, x0), first[1] = add(first[1], w1, x0);
    second[0] = add(second[0], w0, x1), second[1] = add(second[1], w1, x1);
  }
};

}  // namespace
}  // namespace gemlet::kernels
