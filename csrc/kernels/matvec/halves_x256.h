// Eight blocks whose halves have integer scales, summed in 16 bits and widened by the scales themselves: no half needs a
// float of its own. For sets whose byte products are pairs in 16 bits.
#pragma once

namespace gemlet::kernels {
namespace {

// Pairs of products of block J.
template <class F, int J>
[[gnu::always_inline]] inline __m256i products(const uint8_t* g, const int8_t* q) {
  return _mm256_maddubs_epi16(F::template u<J>(g), load(q + J * kBlock));
}

// Blocks J to J + 3: a 32-bit lane a half, first halves in the lower four lanes. Each holds two sums of eight products, of
// elements 0, 1 and of 2, 3 modulo 4, modulo 2^16.
template <class F, int J>
[[gnu::always_inline]] inline __m256i half_sums(const uint8_t* g, const int8_t* q) {
  const __m256i s = fold_far(products<F, J>(g, q), products<F, J + 1>(g, q));
  const __m256i t = fold_far(products<F, J + 2>(g, q), products<F, J + 3>(g, q));
  return _mm256_add_epi16(evens(s, t), odds(s, t));
}

// The sums over u - offset of the same four blocks, which fit 16 bits again, times the halves' scales.
template <class F, int J>
[[gnu::always_inline]] inline __m256i scaled_half_sums(const uint8_t* g, const QuantRows& x, int64_t b) {
  static_assert(F::kOffset == 32 && 4 * F::kMax * 127 <= INT16_MAX && 8 * 32 * 127 <= INT16_MAX);
  const __m256i in_order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
  const __m256i minus = _mm256_permutevar8x32_epi32(load(x.minus32 + 4 * (b + J)), in_order);
  const __m256i sums = _mm256_add_epi16(half_sums<F, J>(g, x.q + b * kBlock), minus);
  return _mm256_madd_epi16(sums, F::template scale_pairs<J>(g));
}

// The sums of the group's blocks times their scales, a lane a block. Below 2^24, so a float holds them exactly.
template <class F>
[[gnu::always_inline]] inline __m256i scaled_sums(const uint8_t* g, const QuantRows& x, int64_t b) {
  const __m256i first = scaled_half_sums<F, 0>(g, x, b), second = scaled_half_sums<F, 4>(g, x, b);
  return _mm256_add_epi32(_mm256_permute2x128_si256(first, second, 0x20),
                          _mm256_permute2x128_si256(first, second, 0x31));
}

}  // namespace
}  // namespace gemlet::kernels
