// Eight blocks of small unsigned weights, summed in 16 bits: block j lies in the lower half of a vector and block j + 4 in
// the upper, so that folding never crosses halves (Zen 3: one a cycle, against two inside), and the activations are put
// into the same order once for all rows. For sets whose byte products are pairs in 16 bits.
#pragma once

namespace gemlet::kernels {
namespace {

enum class Tail { None, Half, Padded };  // blocks after the last whole group: none, four, another number

constexpr int64_t kMostPairedBlocks = 1024;  // the copy of the activations lies on the stack: 32 KiB

// a in the lower half, b in the upper.
inline __m256i halves(const uint8_t* a, const uint8_t* b) {
  return _mm256_inserti128_si256(_mm256_castsi128_si256(load16(a)), load16(b), 1);
}

// Elements 0..15 of two blocks, and elements 16..31.
struct BlockPair {
  __m256i first, second;
};

inline BlockPair nibbles_of(__m256i packed) {
  const __m256i low = _mm256_set1_epi8(15);
  return {_mm256_and_si256(packed, low), _mm256_and_si256(_mm256_srli_epi16(packed, 4), low)};
}

// Of each format: `pair_of<J>(a, b)`, block J of the four blocks at a beside that of the four at b, and `scales_of(a, b)`. In
// a group of eight b is a's middle; the formats of 256 elements know where theirs is.
template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ4_0 /*format*/, const uint8_t* a, const uint8_t* b) {
  constexpr size_t kAt = J * sizeof(codec::BlockQ4_0) + 2;
  return nibbles_of(halves(a + kAt, b + kAt));
}
inline __m256 scales_of(FmtQ4_0 /*format*/, const uint8_t* a, const uint8_t* b) {
  constexpr size_t kStride = sizeof(codec::BlockQ4_0);
  return _mm256_cvtph_ps(_mm_unpacklo_epi64(four_halves<kStride>(a), four_halves<kStride>(b)));
}

// Bytes 0 and 1 are the scale, 2 to 5 the fifth bits.
template <int J>
inline __m256i heads_of(FmtQ5_0 /*format*/, const uint8_t* a, const uint8_t* b) {
  constexpr size_t kAt = J * sizeof(codec::BlockQ5_0);
  return halves(a + kAt, b + kAt);
}
template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ5_0 format, const uint8_t* a, const uint8_t* b) {
  constexpr size_t kAt = J * sizeof(codec::BlockQ5_0) + 6;
  const __m256i heads = heads_of<J>(format, a, b);
  const BlockPair four = nibbles_of(halves(a + kAt, b + kAt));
  const auto spread = [&](long long one, long long other) {
    return fifth_bits(_mm256_shuffle_epi8(heads, _mm256_setr_epi64x(one, other, one, other)));
  };
  return {_mm256_or_si256(four.first, spread(0x0202020202020202LL, 0x0303030303030303LL)),
          _mm256_or_si256(four.second, spread(0x0404040404040404LL, 0x0505050505050505LL))};
}
inline __m256 scales_of(FmtQ5_0 format, const uint8_t* a, const uint8_t* b) {
  const __m256i four =
      _mm256_unpacklo_epi32(_mm256_unpacklo_epi16(heads_of<0>(format, a, b), heads_of<1>(format, a, b)),
                            _mm256_unpacklo_epi16(heads_of<2>(format, a, b), heads_of<3>(format, a, b)));
  return _mm256_cvtph_ps(_mm_unpacklo_epi64(_mm256_castsi256_si128(four), _mm256_extracti128_si256(four, 1)));
}

// Nibbles of blocks J and J + 4 of the 256-element formats: 32 bytes hold two blocks.
template <int J>
[[gnu::always_inline]] inline BlockPair nibble_pair(const uint8_t* packed) {
  const uint8_t *a = packed + J / 2 * 32, *b = a + 64;
  const BlockPair first = nibbles_of(halves(a, b)), second = nibbles_of(halves(a + 16, b + 16));
  return J % 2 ? BlockPair{first.second, second.second} : BlockPair{first.first, second.first};
}

template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ4_K /*format*/, const uint8_t* g, const uint8_t* /*middle*/) {
  return nibble_pair<J>(g + 16);
}
inline __m256 scales_of(FmtQ4_K /*format*/, const uint8_t* g, const uint8_t* /*middle*/) { return FmtQ4_K::scales(g); }

template <int J>
[[gnu::always_inline]] inline BlockPair pair_of(FmtQ5_K /*format*/, const uint8_t* g, const uint8_t* /*middle*/) {
  const BlockPair four = nibble_pair<J>(g + 48);
  const auto fifth = [&](const uint8_t* high) {  // bit J, or J + 4, of each byte becomes bit 4
    const __m256i both = _mm256_broadcastsi128_si256(load16(high));
    const __m256i even = _mm256_sllv_epi32(both, _mm256_setr_epi32(4, 4, 4, 4, 0, 0, 0, 0));
    return _mm256_and_si256(_mm256_srli_epi16(even, J), _mm256_set1_epi8(16));
  };
  return {_mm256_or_si256(four.first, fifth(g + 16)), _mm256_or_si256(four.second, fifth(g + 32))};
}
inline __m256 scales_of(FmtQ5_K /*format*/, const uint8_t* g, const uint8_t* /*middle*/) { return FmtQ5_K::scales(g); }

// Sums of four products: eight lanes of 16 bits for each block.
template <class F, int J>
[[gnu::always_inline]] inline __m256i pair_sums(const uint8_t* a, const uint8_t* b, const int8_t* q) {
  const BlockPair u = pair_of<J>(F{}, a, b);
  return _mm256_add_epi16(_mm256_maddubs_epi16(u.first, load(q + J * 64)),
                          _mm256_maddubs_epi16(u.second, load(q + J * 64 + 32)));
}

// The integer sums of the four blocks at a and the four at b, a lane a block.
template <class F>
[[gnu::always_inline]] inline __m256i paired_sums(const uint8_t* a, const uint8_t* b, const int8_t* q) {
  static_assert(8 * F::kMax * 127 <= 32767);
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i s = fold_far(pair_sums<F, 0>(a, b, q), pair_sums<F, 1>(a, b, q));
  const __m256i t = fold_far(pair_sums<F, 2>(a, b, q), pair_sums<F, 3>(a, b, q));
  if constexpr (16 * F::kMax * 127 <= 32767) return _mm256_madd_epi16(_mm256_add_epi16(evens(s, t), odds(s, t)), ones);
  const __m256i wide_s = _mm256_madd_epi16(s, ones), wide_t = _mm256_madd_epi16(t, ones);
  return _mm256_add_epi32(evens(wide_s, wide_t), odds(wide_s, wide_t));
}

// The activations of one token in the order of the pairs: for each of four, elements 0..15 and then 16..31 of both blocks.
// `far` is how many blocks the second lies behind the first.
inline void pair_four(const int8_t* q, int64_t far, int8_t* paired) {
  for (int64_t j = 0; j < 4; ++j) {
    const __m256i low = load(q + j * kBlock), high = load(q + (j + far) * kBlock);
    auto* to = reinterpret_cast<__m256i*>(paired + j * 64);
    _mm256_store_si256(to, _mm256_permute2x128_si256(low, high, 0x20));
    _mm256_store_si256(to + 1, _mm256_permute2x128_si256(low, high, 0x31));
  }
}

// Eight blocks added to the partial sums, lane by lane; `sum` and `d` are those of the activations.
template <class F>
[[gnu::always_inline]] inline __m256 add_eight(const uint8_t* a, const uint8_t* b, const int8_t* paired, __m256i sum,
                                               __m256 d, __m256 sums) {
  const __m256i dot = minus_offset<F::kOffset>(paired_sums<F>(a, b, paired), sum);
  return _mm256_fmadd_ps(_mm256_cvtepi32_ps(dot), _mm256_mul_ps(scales_of(F{}, a, b), d), sums);
}

template <class F>
[[gnu::always_inline]] inline __m256 add_paired(const uint8_t* g, const QuantRows& x, const int8_t* paired, int64_t b,
                                                __m256 sums) {
  sums = add_eight<F>(g, g + F::kGroupBytes / 2, paired + b * kBlock, load(x.sum + b), _mm256_loadu_ps(x.d + b), sums);
  if constexpr (F::kHasMin) sums = _mm256_fnmadd_ps(F::mins(g), _mm256_loadu_ps(x.dsum + b), sums);
  return sums;
}

// The partial sums of a row's whole groups.
template <class F>
[[gnu::always_inline]] inline __m256 row_sums(const uint8_t* g, int64_t groups, const QuantRows& x,
                                              const int8_t* paired) {
  __m256 sums = _mm256_setzero_ps();
  for (int64_t i = 0; i < groups; ++i, g += F::kGroupBytes) {
    prefetch<F::kGroupBytes>(g);
    sums = add_paired<F>(g, x, paired, i * 8, sums);
  }
  return sums;
}

// Ones in the lanes of the first `blocks` blocks of a group.
inline __m256 first_lanes(int64_t blocks) {
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(blocks)), lanes));
}

// Rows that end with half a group, two at a time: the tails of both make one more group. An odd row is left to the caller.
template <class F>
int64_t matvec_half_tails(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x,
                          const int8_t* paired, float* y) {
  const int64_t groups = blocks / 8, at = groups * 8;
  const auto sum = _mm256_broadcastsi128_si256(load16(x.sum + at));
  const auto d = _mm256_broadcast_ps(reinterpret_cast<const __m128*>(x.d + at));
  int64_t r = 0;
  for (; r + 1 < rows; r += 2) {
    const uint8_t *a = w + static_cast<size_t>(r) * row_bytes, *b = a + row_bytes;
    const uint8_t *a_tail = b - F::kGroupBytes / 2, *b_tail = a_tail + row_bytes;
    const __m256 one = row_sums<F>(a, groups, x, paired);
    prefetch<F::kGroupBytes / 2>(a_tail);
    const __m256 other = row_sums<F>(b, groups, x, paired);
    prefetch<F::kGroupBytes / 2>(b_tail);
    const __m256 low =
        add_eight<F>(a_tail, b_tail, paired + at * kBlock, sum, d, _mm256_permute2f128_ps(one, other, 0x20));
    // As fold8, both rows at once.
    const __m256 four = _mm256_add_ps(low, _mm256_permute2f128_ps(one, other, 0x31));
    const __m256 two = _mm256_add_ps(four, _mm256_permute_ps(four, 0x0E));
    const __m256 last = _mm256_add_ps(two, _mm256_movehdup_ps(two));
    y[r] = _mm256_cvtss_f32(last);
    y[r + 1] = _mm_cvtss_f32(_mm256_extractf128_ps(last, 1));
  }
  return r;
}

// Rows of whole groups, of groups and half of one, or of groups and another tail (not without any group). What such a tail
// lacks is read from the next row, where activations are zero and lanes are dropped; the last row has no next one and is
// left to the caller. Returns the rows that are done.
template <class F, Tail kTail>
int64_t matvec_paired(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  alignas(32) int8_t paired[kMostPairedBlocks * kBlock];
  const int64_t groups = blocks / 8;
  for (int64_t i = 0; i < groups; ++i) pair_four(x.q + i * 8 * kBlock, 4, paired + i * 8 * kBlock);
  int8_t* tail = paired + groups * 8 * kBlock;
  if constexpr (kTail == Tail::Half) {
    pair_four(x.q + groups * 8 * kBlock, 0, tail);
    return matvec_half_tails<F>(w, row_bytes, rows, blocks, x, paired, y);
  }
  const int64_t done = kTail == Tail::None ? rows : rows - 1;
  if constexpr (kTail == Tail::Padded) pair_four(x.q + groups * 8 * kBlock, 4, tail);
  const __m256 inside = first_lanes(blocks % 8);
  for (int64_t r = 0; r < done; ++r) {
    const uint8_t* g = w + static_cast<size_t>(r) * row_bytes;
    __m256 sums = row_sums<F>(g, groups, x, paired);
    if constexpr (kTail == Tail::Padded) {
      g += static_cast<size_t>(groups) * F::kGroupBytes;
      prefetch<F::kGroupBytes / 2>(g);
      sums = _mm256_blendv_ps(sums, add_paired<F>(g, x, paired, groups * 8, sums), inside);
    }
    y[r] = fold8(sums);
  }
  return done;
}

}  // namespace
}  // namespace gemlet::kernels
