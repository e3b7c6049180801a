// Matrix times vector over the block layout as it lies in the file, eight blocks (one float vector of sums) at a time.
// Reads each weight byte once, in order; prefetches ahead of the hardware. `Dot` comes from the including file's set.
#pragma once

namespace gemlet::kernels {
namespace {

constexpr size_t kPrefetch = 1024;  // bytes ahead

// Sums of neighbouring lanes of a and then of b. While the lanes fit 16 bits this is a pack and a multiply by ones, which
// costs less than the horizontal add: kBound is what a lane can be at most.
template <int kBound>
__m256i add_pairs(__m256i a, __m256i b) {
  if (kBound > 32767) return _mm256_hadd_epi32(a, b);
  return _mm256_madd_epi16(_mm256_packs_epi32(a, b), _mm256_set1_epi16(1));
}

// Eight vectors of eight int32, each lane the sum of four products with weights up to kMax -> the sum of each vector, in
// its lane; `low` and `high` hold the halves' sums (16 weights each).
template <int kMax>
void sum_blocks(const __m256i* v, __m256i& low, __m256i& high) {
  constexpr int kFour = 4 * kMax * 127, kEight = 2 * kFour;
  const __m256i q0 = add_pairs<kEight>(add_pairs<kFour>(v[0], v[1]), add_pairs<kFour>(v[2], v[3]));
  const __m256i q1 = add_pairs<kEight>(add_pairs<kFour>(v[4], v[5]), add_pairs<kFour>(v[6], v[7]));
  low = _mm256_permute2x128_si256(q0, q1, 0x20);
  high = _mm256_permute2x128_si256(q0, q1, 0x31);
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

// One group of eight blocks added to the eight partial sums.
template <class F>
__m256 add_group(const uint8_t* g, const QuantRows& x, int64_t b, __m256 sums) {
  const int8_t* q = x.q + b * kBlock;
  const __m256i v[8] = {block_dot<F, 0>(g, q), block_dot<F, 1>(g, q), block_dot<F, 2>(g, q), block_dot<F, 3>(g, q),
                        block_dot<F, 4>(g, q), block_dot<F, 5>(g, q), block_dot<F, 6>(g, q), block_dot<F, 7>(g, q)};
  __m256i low, high;
  sum_blocks<F::kMax>(v, low, high);
  const __m256 d = _mm256_loadu_ps(x.d + b);
  __m256 scale[2];
  F::scales(g, scale);
  if (F::kScales == 1) {
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
  if (F::kHasMin) sums = _mm256_fnmadd_ps(F::mins(g), _mm256_loadu_ps(x.dsum + b), sums);
  return sums;
}

template <class F>
void matvec(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  const int64_t groups = blocks / 8;
  const size_t tail = static_cast<size_t>(blocks % 8) * (F::kGroupBytes / 8);
  const __m256i inside =
      _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(blocks % 8)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  alignas(32) uint8_t padded[F::kGroupBytes + 32] = {};  // the last blocks of a row, padded with zero blocks
  for (int64_t r = 0; r < rows; ++r) {
    const uint8_t* g = w + static_cast<size_t>(r) * row_bytes;
    __m256 sums = _mm256_setzero_ps();
    for (int64_t i = 0; i < groups; ++i, g += F::kGroupBytes) {
      for (size_t line = 0; line < F::kGroupBytes; line += 64)
        _mm_prefetch(reinterpret_cast<const char*>(g + kPrefetch + line), _MM_HINT_T0);
      sums = add_group<F>(g, x, i * 8, sums);
    }
    if (tail > 0) {
      std::memcpy(padded, g, tail);
      // Lanes past the end keep their sums: adding +0 would turn a -0 into +0.
      sums = _mm256_blendv_ps(sums, add_group<F>(padded, x, groups * 8, sums), _mm256_castsi256_ps(inside));
    }
    y[r] = fold8(sums);
  }
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
