// Scores of one row becoming weights, in 256-bit vectors.
#pragma once

#include "kernels/attend/tile.h"
#include "kernels/isa/x256.h"

namespace gemlet::kernels {
namespace {

inline void softmax_row(const AttendTile& tile, int64_t r) {
  float* scores = tile.scores + r * kTileKeys;
  const Span span = visible(tile, r);
  tile.max[r] = -__builtin_inff();
  tile.sum[r] = 0;
  if (span.begin == span.end) {
    std::memset(scores, 0, kTileKeys * sizeof(float));
    return;
  }
  const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const __m256i before = _mm256_set1_epi32(static_cast<int>(span.begin) - 1);
  const __m256i end = _mm256_set1_epi32(static_cast<int>(span.end));
  const __m256 lowest = _mm256_set1_ps(-__builtin_inff());
  __m256 seen[kTileKeys / 8], max = lowest;
  for (int i = 0; i < kTileKeys / 8; ++i) {
    const __m256i at = _mm256_add_epi32(lanes, _mm256_set1_epi32(8 * i));
    seen[i] = _mm256_castsi256_ps(_mm256_and_si256(_mm256_cmpgt_epi32(at, before), _mm256_cmpgt_epi32(end, at)));
    max = _mm256_max_ps(_mm256_blendv_ps(lowest, _mm256_loadu_ps(scores + 8 * i), seen[i]), max);
  }
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(max), _mm256_extractf128_ps(max, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  tile.max[r] = _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
  const __m256 most = _mm256_set1_ps(tile.max[r]);
  __m256 sums = _mm256_setzero_ps();
  for (int i = 0; i < kTileKeys / 8; ++i) {
    const __m256 p = _mm256_and_ps(exp8(_mm256_sub_ps(_mm256_loadu_ps(scores + 8 * i), most)), seen[i]);
    _mm256_storeu_ps(scores + 8 * i, p);
    sums = _mm256_add_ps(sums, p);
  }
  tile.sum[r] = fold8(sums);
}

}  // namespace
}  // namespace gemlet::kernels
