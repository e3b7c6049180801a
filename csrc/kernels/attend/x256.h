// One tile of attention over pages of floats. Scores: 2 rows x 4 keys a step, or 4 x 2 where keys are converted on the way
// into the registers; values: 4 rows x 16 channels. A row's sums see its own keys only, in their order: rows may be grouped
// in any way.
#pragma once

#include "kernels/attend/bytes_x256.h"
#include "kernels/attend/chunks.h"
#include "kernels/attend/tile_x256.h"

namespace gemlet::kernels {
namespace {

inline __m256 eight(const float* p) { return _mm256_loadu_ps(p); }
inline __m256 eight(const uint16_t* p) { return _mm256_cvtph_ps(load16(p)); }

// Rows lie a line more than C apart: with C a power of two, the same channel of all keys would fall into one or two sets
// of the first cache.
inline Chunk<float> widened(const AttendTile& tile, const void* const* pages, int64_t j, int64_t n) {
  const int64_t apart = tile.channels + 16;
  const auto* x = static_cast<const uint16_t*>(pages[j / kPageKeys]) + j % kPageKeys * tile.channels;
  for (int64_t i = 0; i < n; ++i) {
    fetch_ahead(reinterpret_cast<const uint8_t*>(x + i * tile.channels), tile.channels * 2);
    for (int64_t c = 0; c < tile.channels; c += 8)
      _mm256_storeu_ps(tile.widened + i * apart + c, eight(x + i * tile.channels + c));
  }
  return {tile.widened, apart, false};
}

template <int NR, int NK, class T>
void score_tile(const float* q, int64_t ldq, Chunk<T> k, int64_t channels, __m256 scale, float* scores) {
  __m256 s[NR][4];
  for (int r = 0; r < NR; ++r)
    for (int j = 0; j < 4; ++j) s[r][j] = _mm256_setzero_ps();
  for (int64_t c = 0; c < channels; c += 8) {
    __m256 key[NK];
#pragma GCC unroll 4
    for (int j = 0; j < NK; ++j) key[j] = eight(k.data + j * k.apart + c);
#pragma GCC unroll 2
    for (int r = 0; r < NR; ++r) {
      const __m256 query = _mm256_loadu_ps(q + r * ldq + c);
#pragma GCC unroll 4
      for (int j = 0; j < NK; ++j) s[r][j] = _mm256_fmadd_ps(query, key[j], s[r][j]);
    }
  }
  for (int r = 0; r < NR; ++r) {
    const __m128 four = _mm_mul_ps(fold8x4(s[r][0], s[r][1], s[r][2], s[r][3]), _mm256_castps256_ps128(scale));
    float out[4];
    _mm_storeu_ps(out, four);
    std::memcpy(scores + r * kTileKeys, out, NK * sizeof(float));
  }
}

// Four query rows against two keys.
template <class T>
void score_four_by_two(const float* q, int64_t ldq, Chunk<T> k, int64_t channels, float scale, float* scores) {
  __m256 s[4][2];
  for (auto& row : s) row[0] = row[1] = _mm256_setzero_ps();
  for (int64_t c = 0; c < channels; c += 8) {
    const __m256 first = eight(k.data + c), second = eight(k.data + k.apart + c);
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const __m256 query = _mm256_loadu_ps(q + r * ldq + c);
      s[r][0] = _mm256_fmadd_ps(query, first, s[r][0]);
      s[r][1] = _mm256_fmadd_ps(query, second, s[r][1]);
    }
  }
  for (int r = 0; r < 4; r += 2) {
    const __m128 four = _mm_mul_ps(fold8x4(s[r][0], s[r][1], s[r + 1][0], s[r + 1][1]), _mm_set1_ps(scale));
    _mm_storel_pi(reinterpret_cast<__m64*>(scores + r * kTileKeys), four);
    _mm_storeh_pi(reinterpret_cast<__m64*>(scores + (r + 1) * kTileKeys), four);
  }
}

template <int NR, class T>
void score_rows(const AttendTile& tile, int64_t r, Chunk<T> k, int64_t j, int64_t n) {
  const __m256 scale = _mm256_set1_ps(tile.scale);
  const float* q = tile.q + r * tile.ldq;
  float* scores = tile.scores + r * kTileKeys + j;
  int64_t i = 0;
  if constexpr (NR == 4) {
    for (; i + 2 <= n; i += 2) {
      if (r == 0 && k.more) fetch(k.data + (n + i) * k.apart, 2 * k.apart * static_cast<int64_t>(sizeof(T)));
      score_four_by_two(q, tile.ldq, k.from(i), tile.channels, tile.scale, scores + i);
    }
  } else {
    for (; i + 4 <= n; i += 4) score_tile<NR, 4>(q, tile.ldq, k.from(i), tile.channels, scale, scores + i);
  }
  for (; i < n; ++i) score_tile<NR, 1>(q, tile.ldq, k.from(i), tile.channels, scale, scores + i);
}

// out (NR rows, 16 channels from c) += weights of keys [j, j + n) x v.
template <int NR, int NV, class T>
void value_tile(const AttendTile& tile, int64_t r, Chunk<T> v, int64_t j, int64_t n, int64_t c) {
  __m256 s[NR][NV];
  float* out = tile.out + r * tile.channels + c;
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < NV; ++h) s[i][h] = _mm256_loadu_ps(out + i * tile.channels + 8 * h);
  const float* weights = tile.scores + r * kTileKeys + j;
  for (int64_t key = 0; key < n; ++key) {
    __m256 value[NV];
    for (int h = 0; h < NV; ++h) value[h] = eight(v.data + key * v.apart + c + 8 * h);
#pragma GCC unroll 4
    for (int i = 0; i < NR; ++i) {
      const __m256 p = _mm256_broadcast_ss(weights + i * kTileKeys + key);
      for (int h = 0; h < NV; ++h) s[i][h] = _mm256_fmadd_ps(p, value[h], s[i][h]);
    }
  }
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < NV; ++h) _mm256_storeu_ps(out + i * tile.channels + 8 * h, s[i][h]);
}

template <int NR, class T>
void value_rows(const AttendTile& tile, int64_t r, Chunk<T> v, int64_t j, int64_t n) {
  int64_t c = 0;
  for (; c + 16 <= tile.channels; c += 16) {
    if (r == 0 && v.more) fetch(v.data + n * v.apart + c * n, 16 * n * static_cast<int64_t>(sizeof(T)));
    value_tile<NR, 2>(tile, r, v, j, n, c);
  }
  for (; c < tile.channels; c += 8) value_tile<NR, 1>(tile, r, v, j, n, c);
}

template <int kRows>
struct Body256 {
  static constexpr int kScoreRows = kRows;
  template <int NR, class T>
  static void scores(const AttendTile& tile, int64_t r, Chunk<T> k, int64_t j, int64_t n) {
    score_rows<NR>(tile, r, k, j, n);
  }
  template <int NR, class T>
  static void values(const AttendTile& tile, int64_t r, Chunk<T> v, int64_t j, int64_t n) {
    value_rows<NR>(tile, r, v, j, n);
  }
};

inline float exp1(float x) { return _mm256_cvtss_f32(exp8(_mm256_set1_ps(x))); }

inline void attend_merge(const AttendTile& tile, float* acc_max, float* acc_sum, float* acc_out, int64_t ld) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    if (tile.sum[row] == 0) continue;
    const float max = tile.max[row] > acc_max[row] ? tile.max[row] : acc_max[row];
    const float old_factor = acc_sum[row] == 0 ? 0.0F : exp1(acc_max[row] - max);
    const float new_factor = exp1(tile.max[row] - max);
    acc_max[row] = max;
    acc_sum[row] = __builtin_fmaf(tile.sum[row], new_factor, acc_sum[row] * old_factor);
    const __m256 f_old = _mm256_set1_ps(old_factor), f_new = _mm256_set1_ps(new_factor);
    const float* in = tile.out + row * tile.channels;
    float* out = acc_out + row * ld;
    for (int64_t c = 0; c < tile.channels; c += 8)
      _mm256_storeu_ps(out + c,
                       _mm256_fmadd_ps(_mm256_loadu_ps(in + c), f_new, _mm256_mul_ps(_mm256_loadu_ps(out + c), f_old)));
  }
}

inline void add_all(Table& table) {
  table.quantize16 = quantize16;
  table.attend = attend<Body256<2>, Body256<4>, Pairs256>;
  table.attend_merge = attend_merge;
}

}  // namespace
}  // namespace gemlet::kernels
