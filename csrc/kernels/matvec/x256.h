// Matrix times vector over the block layout as it lies in the file, eight blocks (one float vector of sums) at a time.
// Reads each weight byte once, in order; prefetches ahead of the hardware. `Dot` comes from the including file's set.
#pragma once

namespace gemlet::kernels {
namespace {

// Bytes ahead: at twice as many, long rows of activations leave the first-level cache.
constexpr size_t kPrefetch = 2048;

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

// Of vectors a and b, side by side in each half: lanes 64 bits apart added in 16 bits; the even and the odd 32-bit lanes.
inline __m256i fold_far(__m256i a, __m256i b) {
  return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
inline __m256i evens(__m256i a, __m256i b) {
  return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}
inline __m256i odds(__m256i a, __m256i b) {
  return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xDD));
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

// Asks for the lines of a group that lies kPrefetch further on; past the end of the weights it asks for nothing bad. Inlined
// by force: as a function without an effect that it can see, GCC 12 drops calls of it.
template <size_t kBytes>
[[gnu::always_inline]] inline void prefetch(const uint8_t* g) {
  for (size_t line = 0; line < kBytes; line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(g + kPrefetch + line), _MM_HINT_T0);
}

// Whether the set is best served by sums in 16 bits, and the format's weights are small enough for them.
template <class F>
constexpr bool is_paired() {
  return Dot::kSumsIn16Bits && !F::kHasHalves && !F::kSigned && F::kMax <= 31;
}

}  // namespace
}  // namespace gemlet::kernels

#include "kernels/matvec/halves_x256.h"
#include "kernels/matvec/paired_x256.h"

namespace gemlet::kernels {
namespace {

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

// The sums of both halves, less the offset, times their scales.
template <class F>
[[gnu::always_inline]] inline __m256 scale_halves(const uint8_t* g, const QuantRows& x, int64_t b, __m256i low,
                                                  __m256i high) {
  static_assert(F::kOffset == 32);
  const __m256i s0 = load(x.minus32 + 4 * b), s1 = load(x.minus32 + 4 * b + 16), ones = _mm256_set1_epi16(1);
  const __m256i minus_low = _mm256_permute4x64_epi64(evens(s0, s1), 0xD8);
  const __m256i minus_high = _mm256_permute4x64_epi64(odds(s0, s1), 0xD8);
  const __m256 first = _mm256_cvtepi32_ps(_mm256_add_epi32(low, _mm256_madd_epi16(minus_low, ones)));
  const __m256 second = _mm256_cvtepi32_ps(_mm256_add_epi32(high, _mm256_madd_epi16(minus_high, ones)));
  __m256i scale[2];
  F::halves(g, scale);
  return _mm256_fmadd_ps(second, _mm256_cvtepi32_ps(scale[1]), _mm256_mul_ps(first, _mm256_cvtepi32_ps(scale[0])));
}

// What the weights of kBlocks blocks and the activations add up to, but for the scale and the minimum.
template <class F, int kBlocks>
[[gnu::always_inline]] inline __m256 group_dot(const uint8_t* g, const QuantRows& x, int64_t b) {
  if constexpr (F::kHasHalves && Dot::kSumsIn16Bits) {
    return _mm256_cvtepi32_ps(scaled_sums<F>(g, x, b));
  } else {
    __m256i low, high;
    group_sums<F, kBlocks>(g, x.q + b * kBlock, low, high);
    if constexpr (F::kHasHalves) return scale_halves<F>(g, x, b, low, high);
    return _mm256_cvtepi32_ps(minus_offset<F::kOffset>(_mm256_add_epi32(low, high), load(x.sum + b)));
  }
}

// One group of blocks added to the partial sums, lane by lane.
template <class F, int kBlocks>
[[gnu::always_inline]] inline __m256 add_group(const uint8_t* g, const QuantRows& x, int64_t b, __m256 sums) {
  const __m256 scale = _mm256_mul_ps(F::template scales<kBlocks>(g), _mm256_loadu_ps(x.d + b));
  sums = _mm256_fmadd_ps(group_dot<F, kBlocks>(g, x, b), scale, sums);
  if constexpr (F::kHasMin) sums = _mm256_fnmadd_ps(F::mins(g), _mm256_loadu_ps(x.dsum + b), sums);
  return sums;
}

// The last blocks of a row, fewer than eight, padded with zero blocks. Lanes past the end keep their sums: adding +0 would
// turn a -0 into +0.
template <class F>
__m256 add_padded(const uint8_t* g, int64_t blocks, const QuantRows& x, int64_t b, __m256 sums) {
  alignas(32) uint8_t padded[F::kGroupBytes + 32] = {};
  std::memcpy(padded, g, static_cast<size_t>(blocks) * (F::kGroupBytes / 8));
  return _mm256_blendv_ps(sums, add_group<F, 8>(padded, x, b, sums), first_lanes(blocks));
}

template <class F, Tail kTail>
void matvec_rows(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  const int64_t groups = blocks / 8;
  int64_t r = 0;
  if constexpr (is_paired<F>())
    if (blocks >= 8 && blocks <= kMostPairedBlocks - 8) r = matvec_paired<F, kTail>(w, row_bytes, rows, blocks, x, y);
  for (; r < rows; ++r) {
    const uint8_t* g = w + static_cast<size_t>(r) * row_bytes;
    __m256 sums = _mm256_setzero_ps();
    for (int64_t i = 0; i < groups; ++i, g += F::kGroupBytes) {
      prefetch<F::kGroupBytes>(g);
      sums = add_group<F, 8>(g, x, i * 8, sums);
    }
    if constexpr (kTail != Tail::None) prefetch<F::kGroupBytes / 2>(g);
    if constexpr (kTail == Tail::Half) {
      const __m256 lower = add_group<F, 4>(g, x, groups * 8, sums);
      sums = _mm256_blend_ps(sums, lower, 0x0F);
    }
    if constexpr (kTail == Tail::Padded) sums = add_padded<F>(g, blocks % 8, x, groups * 8, sums);
    y[r] = fold8(sums);
  }
}

template <class F>
void matvec(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  const QuantRows activations = x;  // a copy of the pointers: y may not alias them
  if constexpr (F::kLegacy) {       // rows of these formats need not end with a group
    if (blocks % 8 == 4) return matvec_rows<F, Tail::Half>(w, row_bytes, rows, blocks, activations, y);
    if (blocks % 8 != 0) return matvec_rows<F, Tail::Padded>(w, row_bytes, rows, blocks, activations, y);
  }
  matvec_rows<F, Tail::None>(w, row_bytes, rows, blocks, activations, y);
}

template <class F>
void add(Format& format) {
  format.type = F::kType;
  format.has_min = F::kHasMin;
  format.has_halves = F::kHasHalves;
  format.matvec = matvec<F>;
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
