// Eight blocks of small unsigned weights, summed in 16 bits: block j lies in the lower half of a vector and block j + 4 in
// the upper, so that folding never crosses halves (Zen 3: one a cycle, against two inside), and the activations are put
// into the same order once for all rows. For sets whose byte products are pairs in 16 bits.
#pragma once

namespace gemlet::kernels {
namespace {

constexpr int64_t kMostPairedBlocks = 1024;  // the copy of the activations lies on the stack: 32 KiB

// a in the lower half, b in the upper.
inline __m256i halves(const uint8_t* a, const uint8_t* b) {
  return _mm256_blend_epi32(_mm256_castsi128_si256(load16(a)), _mm256_broadcastsi128_si256(load16(b)), 0xF0);
}

// Elements 0..15 of blocks J and J + 4 of a group, and elements 16..31.
struct BlockPair {
  __m256i first, second;
};

inline BlockPair nibbles_of(__m256i packed) {
  const __m256i low = _mm256_set1_epi8(15);
  return {_mm256_and_si256(packed, low), _mm256_and_si256(_mm256_srli_epi16(packed, 4), low)};
}

template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ4_0 /*format*/, const uint8_t* g) {
  constexpr size_t kStride = sizeof(codec::BlockQ4_0);
  return nibbles_of(halves(g + J * kStride + 2, g + (J + 4) * kStride + 2));
}

// 16 in the bytes whose bit is set in `bytes`, element i in bit i % 8.
inline __m256i fifth_bits(__m256i bytes) {
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  return _mm256_and_si256(_mm256_cmpeq_epi8(_mm256_and_si256(bytes, bit), bit), _mm256_set1_epi8(16));
}

template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ5_0 /*format*/, const uint8_t* g) {
  constexpr size_t kStride = sizeof(codec::BlockQ5_0);
  const __m256i heads = halves(g + J * kStride, g + (J + 4) * kStride);  // the fifth bits are bytes 2 to 5
  const BlockPair four = nibbles_of(halves(g + J * kStride + 6, g + (J + 4) * kStride + 6));
  const auto spread = [&](long long one, long long other) {
    return fifth_bits(_mm256_shuffle_epi8(heads, _mm256_setr_epi64x(one, other, one, other)));
  };
  return {_mm256_or_si256(four.first, spread(0x0202020202020202LL, 0x0303030303030303LL)),
          _mm256_or_si256(four.second, spread(0x0404040404040404LL, 0x0505050505050505LL))};
}

// Nibbles of blocks J and J + 4 of the 256-element formats: 32 bytes hold two blocks.
template <int J>
[[gnu::always_inline]] inline BlockPair nibble_pair(const uint8_t* packed) {
  const uint8_t *a = packed + J / 2 * 32, *b = a + 64;
  const BlockPair first = nibbles_of(halves(a, b)), second = nibbles_of(halves(a + 16, b + 16));
  return J % 2 ? BlockPair{first.second, second.second} : BlockPair{first.first, second.first};
}

template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ4_K /*format*/, const uint8_t* g) {
  return nibble_pair<J>(g + 16);
}

template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ5_K /*format*/, const uint8_t* g) {
  const BlockPair four = nibble_pair<J>(g + 48);
  const auto fifth = [&](const uint8_t* high) {  // bit J, or J + 4, of each byte becomes bit 4
    const __m256i both = _mm256_broadcastsi128_si256(load16(high));
    const __m256i even = _mm256_sllv_epi32(both, _mm256_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0));
    return _mm256_and_si256(_mm256_srli_epi16(even, J), _mm256_set1_epi8(16));
  };
  return {_mm256_or_si256(four.first, fifth(g + 16)), _mm256_or_si256(four.second, fifth(g + 32))};
}

// Sums of four products: eight lanes of 16 bits for each block.
template <class F, int J>
[[gnu::always_inline]] inline __m256i pair_sums(const uint8_t* g, const int8_t* q) {
  const BlockPair u = pair_of<J>(F{}, g);
  return _mm256_add_epi16(_mm256_maddubs_epi16(u.first, load(q + J * 64)),
                          _mm256_maddubs_epi16(u.second, load(q + J * 64 + 32)));
}

// Lanes 64 bits apart, and lanes 32 bits apart, added: a's and b's sums side by side in each half.
inline __m256i fold_far(__m256i a, __m256i b) {
  return _mm256_add_epi16(_mm256_unpacklo_epi64(a, b), _mm256_unpackhi_epi64(a, b));
}
inline __m256i evens(__m256i a, __m256i b) {
  return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
}
inline __m256i odds(__m256i a, __m256i b) {
  return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xDD));
}

// The integer sums of a group, a lane a block.
template <class F>
[[gnu::always_inline]] inline __m256i paired_sums(const uint8_t* g, const int8_t* q) {
  static_assert(8 * F::kMax * 127 <= 32767);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i a = fold_far(pair_sums<F, 0>(g, q), pair_sums<F, 1>(g, q));
  const __m256i b = fold_far(pair_sums<F, 2>(g, q), pair_sums<F, 3>(g, q));
  if constexpr (16 * F::kMax * 127 <= 32767) return _mm256_madd_epi16(_mm256_add_epi16(evens(a, b), odds(a, b)), ones);
  const __m256i wide_a = _mm256_madd_epi16(a, ones), wide_b = _mm256_madd_epi16(b, ones);
  return _mm256_add_epi32(evens(wide_a, wide_b), odds(wide_a, wide_b));
}

// One row of activations in the order of the pairs: for each of four, elements 0..15 and then 16..31 of both blocks.
inline void pair_activations(const int8_t* q, int64_t groups, int8_t* paired) {
  for (int64_t i = 0; i < groups * 4; ++i) {
    const int8_t* block = q + (i / 4 * 8 + i % 4) * kBlock;
    const __m256i low = load(block), high = load(block + 4 * kBlock);
    auto* to = reinterpret_cast<__m256i*>(paired + i * 64);
    _mm256_store_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
  }
}

template <class F>
[[gnu::always_inline]] inline __m256 add_paired(const uint8_t* g, const QuantRows& x, const int8_t* paired, int64_t b,
                                                __m256 sums) {
  const __m256i dot = minus_offset<F::kOffset>(paired_sums<F>(g, paired + b * kBlock), load(x.sum + b));
  const __m256 scale = F::template scales<8>(g);
  sums = _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scale, _mm256_loadu_ps(x.d + b)), sums);
  if constexpr (F::kHasMin) sums = _mm256_fnmadd_ps(F::mins(g), _mm256_loadu_ps(x.dsum + b), sums);
  return sums;
}

// Ones in the lanes of the first `blocks` blocks of a group.
inline __m256 first_lanes(int64_t blocks) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(blocks)), lanes));
}

// Rows of whole groups, or of groups and a tail (not without any group). What the tail lacks is read from the next row,
// where activations are zero and lanes are dropped; the last row has no next one and is left to the caller. Returns the
// rows that are done.
template <class F, bool kTail>
int64_t matvec_paired(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  alignas(32) int8_t paired[kMostPairedBlocks * kBlock];
  const int64_t groups = blocks / 8, done = kTail ? rows - 1 : rows;
  const __m256 inside = first_lanes(blocks % 8);
  pair_activations(x.q, groups + (kTail ? 1 : 0), paired);
  for (int64_t r = 0; r < done; ++r) {
    const uint8_t* g = w + static_cast<size_t>(r) * row_bytes;
    __m256 sums = _mm256_setzero_ps();
    for (int64_t i = 0; i < groups; ++i, g += F::kGroupBytes) {
      prefetch<F::kGroupBytes>(g);
      sums = add_paired<F>(g, x, paired, i * 8, sums);
    }
    if constexpr (kTail) {
      prefetch<F::kGroupBytes / 2>(g);
      sums = _mm256_blendv_ps(sums, add_paired<F>(g, x, paired, groups * 8, sums), inside);
    }
    y[r] = fold8(sums);
  }
  return done;
}

}  // namespace
}  // namespace gemlet::kernels
