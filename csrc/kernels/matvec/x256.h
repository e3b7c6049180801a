// Matrix times vector over the block layout as it lies in the file, eight blocks (one float vector of sums) at a time.
// Reads each weight byte once, in order; prefetches ahead of the hardware. `Dot` comes from the including file's set.
#pragma once

#include "kernels/matvec/sums_x256.h"

namespace gemlet::kernels {
namespace {

constexpr size_t kPrefetch = 4096;  // bytes ahead

// Asks for the lines of a group that lies kPrefetch further on; past the end of the weights it asks for nothing bad.
template <size_t kBytes>
void prefetch(const uint8_t* g) {
  for (size_t line = 0; line < kBytes; line += 64)
    _mm_prefetch(reinterpret_cast<const char*>(g + kPrefetch + line), _MM_HINT_T0);
}

// One group of blocks added to the partial sums, lane by lane.
template <class F, int kBlocks>
[[gnu::always_inline]] inline __m256 add_group(const uint8_t* g, const QuantRows& x, int64_t b, __m256 sums) {
  __m256i low, high;
  group_sums<F, kBlocks>(g, x.q + b * kBlock, low, high);
  const __m256 d = _mm256_loadu_ps(x.d + b);
  __m256 scale[2];
  F::template scales<kBlocks>(g, scale);
  if constexpr (F::kScales == 1) {
    const __m256i dot = minus_offset<F::kOffset>(_mm256_add_epi32(low, high), load(x.sum + b));
    sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale[0], d), sums);
  } else {
    const __m256 s0 = _mm256_castsi256_ps(load(x.sum16 + 2 * b));
    const __m256 s1 = _mm256_castsi256_ps(load(x.sum16 + 2 * b + 8));
    const __m256i sum_low = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(s0, s1, 0x88)), 0xD8);
    const __m256i sum_high = _mm256_permute4x64_epi64(_mm256_castps_si256(_mm256_shuffle_ps(s0, s1, 0xDD)), 0xD8);
    low = minus_offset<F::kOffset>(low, sum_low);
    high = minus_offset<F::kOffset>(high, sum_high);
    sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(low), _mm256_mul_ps(scale[0], d), sums);
    sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(high), _mm256_mul_ps(scale[1], d), sums);
  }
  if constexpr (F::kHasMin) sums = _mm256_fnmadd_ps(F::mins(g), _mm256_loadu_ps(x.dsum + b), sums);
  return sums;
}

// The last blocks of a row, fewer than eight, padded with zero blocks. Lanes past the end keep their sums: adding +0 would
// turn a -0 into +0.
template <class F>
__m256 add_padded(const uint8_t* g, int64_t blocks, const QuantRows& x, int64_t b, __m256 sums) {
  const __m256i inside =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(blocks)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  alignas(32) uint8_t padded[F::kGroupBytes + 32] = {};
  std::memcpy(padded, g, static_cast<size_t>(blocks) * (F::kGroupBytes / 8));
  return _mm256_blendv_ps(sums, add_group<F, 8>(padded, x, b, sums), _mm256_castsi256_ps(inside));
}

enum class Tail { None, Half, Padded };  // blocks after the last whole group: none, four, another number

// One group of blocks added to the partial sums of two rows.
template <class F>
[[gnu::always_inline]] inline void add_group_of_two(const uint8_t* const (&g)[2], const QuantRows& x, int64_t b,
                                                    __m256 (&sums)[2]) {
  __m256i low[2], high[2];
  four_blocks<F, 0>(g, x.q + b * kBlock, low);
  four_blocks<F, 4>(g, x.q + b * kBlock, high);
  const __m256 d = _mm256_loadu_ps(x.d + b);
  const __m256i activations = load(x.sum + b);
  for (int r = 0; r < 2; ++r) {
    const __m256i dot = minus_offset<F::kOffset>(last_fold<F>(low[r], high[r]), activations);
    __m256 scale[1];
    F::template scales<8>(g[r], scale);
    sums[r] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale[0], d), sums[r]);
    if constexpr (F::kHasMin) sums[r] = _mm256_fnmadd_ps(F::mins(g[r]), _mm256_loadu_ps(x.dsum + b), sums[r]);
  }
}

// The last four blocks of two rows: the first row's in the lower lanes of `sums`, the second's in the upper.
template <class F>
[[gnu::always_inline]] inline __m256 add_halves_of_two(const uint8_t* const (&g)[2], const QuantRows& x, int64_t b,
                                                       __m256 sums) {
  __m256i four[2];
  four_blocks<F, 0>(g, x.q + b * kBlock, four);
  const __m256 d = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(x.d + b));
  const __m256i activations = _mm256_broadcastsi128_si256(load16(x.sum + b));
  const __m256i dot = minus_offset<F::kOffset>(last_fold<F>(four[0], four[1]), activations);
  __m256 first, second;
  F::template scales<4>(g[0], &first), F::template scales<4>(g[1], &second);
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(_mm256_permute2f128_ps(first, second, 0x20), d), sums);
}

template <class F, Tail kTail>
[[gnu::always_inline]] inline void two_rows(const uint8_t* w, size_t row_bytes, int64_t groups, const QuantRows& x,
                                            float* y) {
  const uint8_t* g[2] = {w, w + row_bytes};
  __m256 sums[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()};
  for (int64_t i = 0; i < groups; ++i, g[0] += F::kGroupBytes, g[1] += F::kGroupBytes) {
    prefetch<F::kGroupBytes>(g[0]), prefetch<F::kGroupBytes>(g[1]);
    add_group_of_two<F>(g, x, i * 8, sums);
  }
  __m256 low = _mm256_permute2f128_ps(sums[0], sums[1], 0x20);
  if constexpr (kTail == Tail::Half) {
    prefetch<F::kGroupBytes / 2>(g[0]), prefetch<F::kGroupBytes / 2>(g[1]);
    low = add_halves_of_two<F>(g, x, groups * 8, low);
  }
  // fold8 of both
  const __m256 four = _mm256_add_ps(low, _mm256_permute2f128_ps(sums[0], sums[1], 0x31));
  const __m256 two = _mm256_add_ps(four, _mm256_permute_ps(four, 0x4E));
  const __m256 one = _mm256_add_ps(two, _mm256_movehdup_ps(two));
  y[0] = _mm256_cvtss_f32(one);
  y[1] = _mm_cvtss_f32(_mm256_extractf128_ps(one, 1));
}

template <class F, Tail kTail>
void matvec_rows(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  const int64_t groups = blocks / 8;
  int64_t r = 0;
  if constexpr (folds_in_16_bits<F>() && kTail != Tail::Padded)
    for (; r + 2 <= rows; r += 2)
      two_rows<F, kTail>(w + static_cast<size_t>(r) * row_bytes, row_bytes, groups, x, y + r);
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
  format.scales = F::kScales;
  format.has_min = F::kHasMin;
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
