// Attention tiles for avx512: scores of two query rows side by side in one vector (each half has the eight phases), values
// over 16 channels a vector. Widening, softmax and merging are the 256-bit body's.
#include "kernels/isa/avx512.h"

#include "kernels/attend/x256.h"

namespace gemlet::kernels::avx512 {
namespace {

inline __m512 two_rows(const float* low, const float* high) {
  return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(low)), _mm256_loadu_ps(high), 1);
}

inline __m256 low_half(__m512 v) { return _mm512_castps512_ps256(v); }
inline __m256 high_half(__m512 v) { return _mm512_extractf32x8_ps(v, 1); }

// Four query rows from q against four keys from k.
void score_tile512(const float* q, int64_t ldq, Chunk<float> k, int64_t channels, float scale, float* scores) {
  constexpr int kPairs = 2, kKeys = 4;
  __m512 s[kPairs][kKeys];
  for (int p = 0; p < kPairs; ++p)
    for (int j = 0; j < kKeys; ++j) s[p][j] = _mm512_setzero_ps();
  for (int64_t c = 0; c < channels; c += 8) {
    __m512 query[kPairs];
#pragma GCC unroll 2
    for (int p = 0; p < kPairs; ++p) query[p] = two_rows(q + 2 * p * ldq + c, q + (2 * p + 1) * ldq + c);
#pragma GCC unroll 4
    for (int j = 0; j < kKeys; ++j) {
      const __m512 key = _mm512_broadcast_f32x8(_mm256_loadu_ps(k.data + j * k.apart + c));
#pragma GCC unroll 2
      for (int p = 0; p < kPairs; ++p) s[p][j] = _mm512_fmadd_ps(query[p], key, s[p][j]);
    }
  }
  const __m128 factor = _mm_set1_ps(scale);
  for (int p = 0; p < kPairs; ++p) {
    const __m128 low = fold8x4(low_half(s[p][0]), low_half(s[p][1]), low_half(s[p][2]), low_half(s[p][3]));
    const __m128 high = fold8x4(high_half(s[p][0]), high_half(s[p][1]), high_half(s[p][2]), high_half(s[p][3]));
    _mm_storeu_ps(scores + 2 * p * kTileKeys, _mm_mul_ps(low, factor));
    _mm_storeu_ps(scores + (2 * p + 1) * kTileKeys, _mm_mul_ps(high, factor));
  }
}

// Four query rows from r against keys [j, j + n).
void score_four(const AttendTile& tile, int64_t r, Chunk<float> k, int64_t j, int64_t n) {
  const float* q = tile.q + r * tile.ldq;
  float* scores = tile.scores + r * kTileKeys + j;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) score_tile512(q, tile.ldq, k.from(i), tile.channels, tile.scale, scores + i);
  if (i == n) return;
  score_rows<2>(tile, r, k.from(i), j + i, n - i);
  score_rows<2>(tile, r + 2, k.from(i), j + i, n - i);
}

// out (NR rows, 16 NV channels from c) += weights of keys [j, j + n) x v.
template <int NR, int NV>
void value_tile512(const AttendTile& tile, int64_t r, Chunk<float> v, int64_t j, int64_t n, int64_t c) {
  __m512 s[NR][NV];
  float* out = tile.out + r * tile.channels + c;
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < NV; ++h) s[i][h] = _mm512_loadu_ps(out + i * tile.channels + 16 * h);
  const float* weights = tile.scores + r * kTileKeys + j;
  for (int64_t key = 0; key < n; ++key) {
    __m512 value[NV];
#pragma GCC unroll 4
    for (int h = 0; h < NV; ++h) value[h] = _mm512_loadu_ps(v.data + key * v.apart + c + 16 * h);
#pragma GCC unroll 4
    for (int i = 0; i < NR; ++i) {
      const __m512 p = _mm512_set1_ps(weights[i * kTileKeys + key]);
#pragma GCC unroll 4
      for (int h = 0; h < NV; ++h) s[i][h] = _mm512_fmadd_ps(p, value[h], s[i][h]);
    }
  }
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < NV; ++h) _mm512_storeu_ps(out + i * tile.channels + 16 * h, s[i][h]);
}

template <int NR>
void value_rows512(const AttendTile& tile, int64_t r, Chunk<float> v, int64_t j, int64_t n) {
  int64_t c = 0;
  for (; c + 64 <= tile.channels; c += 64) value_tile512<NR, 4>(tile, r, v, j, n, c);
  for (; c + 16 <= tile.channels; c += 16) value_tile512<NR, 1>(tile, r, v, j, n, c);
  for (; c < tile.channels; c += 8) value_tile<NR, 1>(tile, r, v, j, n, c);
}

struct Body512 {
  static constexpr int kScoreRows = 4;
  template <int NR>
  static void scores(const AttendTile& tile, int64_t r, Chunk<float> k, int64_t j, int64_t n) {
    if constexpr (NR == 4)
      score_four(tile, r, k, j, n);
    else
      score_rows<NR>(tile, r, k, j, n);
  }
  template <int NR>
  static void values(const AttendTile& tile, int64_t r, Chunk<float> v, int64_t j, int64_t n) {
    value_rows512<NR>(tile, r, v, j, n);
  }
};

// Sixteen lanes: a group of keys, half a block of channels.
struct Pairs512 {
  using Wide = __m512i;  // bytes as int16
  using Two = __m512i;   // a pair of int16 again and again
  using Integers = __m512i;
  using Floats = __m512;
  static constexpr int kLanes = 16, kScoreRows = 8;
  static __m512i none() { return _mm512_setzero_si512(); }
  static __m512 zero() { return _mm512_setzero_ps(); }
  static __m512i widen(const uint8_t* bytes) { return _mm512_cvtepi8_epi16(load(bytes)); }
  static __m512i broadcast(const int16_t* pair) {
    int two = 0;
    std::memcpy(&two, pair, 4);
    return _mm512_set1_epi32(two);
  }
  static __m512i multiply(__m512i a, __m512i b) { return _mm512_madd_epi16(a, b); }
  static __m512i add(__m512i sum, __m512i a, __m512i b) { return _mm512_dpwssd_epi32(sum, a, b); }
  static __m512 to_float(__m512i v) { return _mm512_cvtepi32_ps(v); }
  static __m512 halves(const uint8_t* p) {
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_cvtph_ps(load16(p))), _mm256_cvtph_ps(load16(p + 16)), 1);
  }
  static __m512 fma(__m512 a, __m512 b, __m512 c) { return _mm512_fmadd_ps(a, b, c); }
  static void store_times(__m512 v, float factor, float* out) {
    _mm512_storeu_ps(out, _mm512_mul_ps(v, _mm512_set1_ps(factor)));
  }
  static void add_times(__m512i v, float factor, float* out) {
    _mm512_storeu_ps(out, _mm512_fmadd_ps(_mm512_cvtepi32_ps(v), _mm512_set1_ps(factor), _mm512_loadu_ps(out)));
  }
};

}  // namespace

void add_attend(Table& table) {
  add_all(table);
  table.attend = attend<Body512, Body256<4>, Pairs512>;
}

}  // namespace gemlet::kernels::avx512
