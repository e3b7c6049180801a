// Integer sums of eight blocks of a row, one lane a block: products by `Dot` of the including file's set, then folds inside
// halves of a vector, which are cheaper than those across (Zen 3: two a cycle against one).
#pragma once

namespace gemlet::kernels {
namespace {

// Sums of neighbouring lanes of a, then of b, within each 128-bit half; the lanes must fit 16 bits.
inline __m256i add_pairs(__m256i a, __m256i b) {
  return _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1));
}

// Four vectors of eight int32, each lane the sum of four products with weights up to kMax -> in each 128-bit half the
// sums of a, b, c, d over that half. Packs where 16 bits hold the lanes, shuffles where not; never the slow vphaddd.
template <int kMax>
__m256i sum_four(__m256i a, __m256i b, __m256i c, __m256i d) {
  constexpr int kFour = 4 * kMax * 127, kEight = 2 * kFour;
  if (kFour > 32767) {
    const __m256i ab = _mm256_add_epi32(_mm256_unpacklo_epi32(a, b), _mm256_unpackhi_epi32(a, b));
    const __m256i cd = _mm256_add_epi32(_mm256_unpacklo_epi32(c, d), _mm256_unpackhi_epi32(c, d));
    return _mm256_add_epi32(_mm256_unpacklo_epi64(ab, cd), _mm256_unpackhi_epi64(ab, cd));
  }
  const __m256i ab = add_pairs(a, b), cd = add_pairs(c, d);
  if (kEight <= 32767) return add_pairs(ab, cd);
  const __m256 f = _mm256_castsi256_ps(ab), g = _mm256_castsi256_ps(cd);
  return _mm256_add_epi32(_mm256_castps_si256(_mm256_shuffle_ps(f, g, 0x88)),
                          _mm256_castps_si256(_mm256_shuffle_ps(f, g, 0xDD)));
}

template <class F, int J>
__m256i block_dot(const uint8_t* g, const int8_t* q) {
  return Dot::template block<F>(F::template u<J>(g), load(q + J * kBlock));
}

// sum - offset * (sum of the activations), exactly; offsets are powers of two.
template <int kOffset>
__m256i minus_offset(__m256i dot, __m256i activations) {
  if (kOffset == 0) return dot;
  return _mm256_sub_epi32(dot, _mm256_slli_epi32(activations, __builtin_ctz(kOffset == 0 ? 1 : kOffset)));
}

// The integer sums of kBlocks blocks (8, or 4 in the lower lanes): over their first and their second halves.
template <class F, int kBlocks>
[[gnu::always_inline]] inline void group_sums(const uint8_t* g, const int8_t* q, __m256i& low, __m256i& high) {
  const __m256i q0 =
      sum_four<F::kMax>(block_dot<F, 0>(g, q), block_dot<F, 1>(g, q), block_dot<F, 2>(g, q), block_dot<F, 3>(g, q));
  __m256i q1 = _mm256_setzero_si256();
  if constexpr (kBlocks == 8)
    q1 = sum_four<F::kMax>(block_dot<F, 4>(g, q), block_dot<F, 5>(g, q), block_dot<F, 6>(g, q), block_dot<F, 7>(g, q));
  low = _mm256_permute2x128_si256(q0, q1, 0x20);
  high = _mm256_permute2x128_si256(q0, q1, 0x31);
}

// ---- in 16 bits: small unsigned weights, R rows side by side, so that each activation is loaded once -----------------

// Whether eight products of such weights fit 16 bits, and the set has nothing better.
template <class F>
constexpr bool folds_in_16_bits() {
  return Dot::kSumsIn16Bits && F::kScales == 1 && !F::kSigned && 8 * F::kMax * 127 <= 32767;
}

// a's and b's sums of lanes 64 bits apart, or 32, side by side in each half.
inline __m256i fold_far(__m256i a, __m256i b) {
  return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
inline __m256i fold_near(__m256i a, __m256i b) {
  const __m256 f = _mm256_castsi256_ps(a), g = _mm256_castsi256_ps(b);
  return _mm256_add_epi16(_mm256_castps_si256(_mm256_shuffle_ps(f, g, 0x88)),
                          _mm256_castps_si256(_mm256_shuffle_ps(f, g, 0xDD)));
}

template <class F, int J, int R>
[[gnu::always_inline]] inline void block_pairs(const uint8_t* const (&g)[R], const int8_t* q, __m256i (&out)[R]) {
  const __m256i a = load(q + J * kBlock);
  for (int r = 0; r < R; ++r) out[r] = _mm256_maddubs_epi16(F::template u<J>(g[r]), a);
}

// Blocks J to J + 3: two lanes of 16 bits for each, in both halves.
template <class F, int J, int R>
[[gnu::always_inline]] inline void four_blocks(const uint8_t* const (&g)[R], const int8_t* q, __m256i (&out)[R]) {
  __m256i a[R], b[R], c[R], d[R];
  block_pairs<F, J>(g, q, a), block_pairs<F, J + 1>(g, q, b);
  block_pairs<F, J + 2>(g, q, c), block_pairs<F, J + 3>(g, q, d);
  for (int r = 0; r < R; ++r) out[r] = fold_near(fold_far(a[r], b[r]), fold_far(c[r], d[r]));
}

// Both halves of `low` and of `high` added up: four blocks of each in 32 bits.
template <class F>
__m256i last_fold(__m256i low, __m256i high) {
  constexpr bool kFit = 16 * F::kMax * 127 <= 32767;
  const __m256i ones = _mm256_set1_epi16(1);
  if (!kFit) low = _mm256_madd_epi16(low, ones), high = _mm256_madd_epi16(high, ones);
  const __m256i a = _mm256_permute2x128_si256(low, high, 0x20), b = _mm256_permute2x128_si256(low, high, 0x31);
  return kFit ? _mm256_madd_epi16(_mm256_add_epi16(a, b), ones) : _mm256_add_epi32(a, b);
}

}  // namespace
}  // namespace gemlet::kernels
