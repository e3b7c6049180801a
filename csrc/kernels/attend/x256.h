// One tile of attention over pages of floats. Scores: 2 rows x 4 keys a step, or 4 x 2 where keys are converted on the way
// into the registers; values: 4 rows x 16 channels. A row's sums see its own keys only, in their order: rows may be grouped
// in any way.
#pragma once

#include "kernels/attend/bytes_x256.h"
#include "kernels/attend/tile_x256.h"

namespace gemlet::kernels {
namespace {

constexpr int64_t kChunkKeys = 16;
constexpr int64_t kFewRows = 16;  // up to here binary16 is converted for each four rows anew, beyond once for all

// Some keys, or values, float or binary16: key i at data + i * apart.
template <class T>
struct Chunk {
  const T* data;
  int64_t apart;
  bool more;  // another chunk follows in memory: fetch it little by little while the first rows are worked on
  Chunk from(int64_t i) const { return {data + i * apart, apart, more}; }
};

inline void fetch(const void* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(static_cast<const char*>(from) + i, _MM_HINT_T0);
}

inline __m256 eight(const float* p) { return _mm256_loadu_ps(p); }
inline __m256 eight(const uint16_t* p) { return _mm256_cvtph_ps(load16(p)); }

// Keys [j, j + n) of a page list as they are; they lie in one page.
template <class T>
Chunk<T> in_place(const AttendTile& tile, const void* const* pages, int64_t j, int64_t n) {
  const T* at = static_cast<const T*>(pages[j / kPageKeys]) + j % kPageKeys * tile.channels;
  return {at, tile.channels, (j + n) % kPageKeys != 0};
}

// The same widened, where that pays. Rows lie a line more than C apart: with C a power of two, the same channel of all
// keys would fall into one or two sets of the first cache.
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

// Calls work(first key, count) for the pieces of the span that lie in one chunk.
template <class Work>
void for_chunks(Span span, Work work) {
  for (int64_t j = span.begin; j < span.end;) {
    const int64_t stop = (j / kChunkKeys + 1) * kChunkKeys, n = (stop < span.end ? stop : span.end) - j;
    work(j, n);
    j += n;
  }
}

// Adds the values of one chunk to rows [r, r + NR): together where all see a key, before and
// after that each row on its own. A hidden key with weight 0 would not do: it may hold an infinity.
template <class Body, int NR, class T>
void add_values(const AttendTile& tile, int64_t r, Chunk<T> v, Span chunk) {
  Span own[NR], all = chunk;
  for (int i = 0; i < NR; ++i) {
    own[i] = common(visible(tile, r + i), chunk);
    all = common(all, own[i]);
  }
  if (all.begin == all.end) all = {chunk.end, chunk.end};
  const auto alone = [&](int i, Span keys) {
    if (keys.begin < keys.end)
      Body::template values<1>(tile, r + i, v.from(keys.begin - chunk.begin), keys.begin, keys.end - keys.begin);
  };
  for (int i = 0; i < NR; ++i) alone(i, common(own[i], {chunk.begin, all.begin}));
  if (all.begin < all.end)
    Body::template values<NR>(tile, r, v.from(all.begin - chunk.begin), all.begin, all.end - all.begin);
  for (int i = 0; i < NR; ++i) alone(i, common(own[i], {all.end, chunk.end}));
}

// `Body` has the two inner loops: scores of kScoreRows rows, values of four, and both of one. load(pages, j, n) gives keys
// or values as a Chunk.
template <class Body, class Load>
void attend_floats(const AttendTile& tile, const Load& load_keys) {
  const Span all = visible_to_any(tile, 0, tile.rows);
  for_chunks(all, [&](int64_t j, int64_t n) {
    const auto k = load_keys(tile.k, j, n);
    int64_t r = 0;
    for (; r + Body::kScoreRows <= tile.rows; r += Body::kScoreRows)
      Body::template scores<Body::kScoreRows>(tile, r, k, j, n);
    for (; r < tile.rows; ++r) Body::template scores<1>(tile, r, k, j, n);
  });
  for (int64_t r = 0; r < tile.rows; ++r) softmax_row(tile, r);
  std::memset(tile.out, 0, static_cast<size_t>(tile.rows * tile.channels) * sizeof(float));
  for_chunks(all, [&](int64_t j, int64_t n) {
    const auto v = load_keys(tile.v, j, n);
    int64_t r = 0;
    for (; r + 4 <= tile.rows; r += 4) add_values<Body, 4>(tile, r, v, {j, j + n});
    for (; r < tile.rows; ++r) add_values<Body, 1>(tile, r, v, {j, j + n});
  });
}

// `Body` for pages of floats, `HalfBody` for few rows over binary16, `Pairs` for pages of bytes.
template <class Body, class HalfBody, class Pairs>
void attend(const AttendTile& tile) {
  using Pages = const void* const*;
  if (tile.type == KvType::Q8_0)
    attend_bytes<Pairs>(tile);
  else if (tile.type == KvType::F32)
    attend_floats<Body>(tile, [&](Pages p, int64_t j, int64_t n) { return in_place<float>(tile, p, j, n); });
  else if (tile.rows <= kFewRows)
    attend_floats<HalfBody>(tile, [&](Pages p, int64_t j, int64_t n) { return in_place<uint16_t>(tile, p, j, n); });
  else
    attend_floats<Body>(tile, [&](Pages p, int64_t j, int64_t n) { return widened(tile, p, j, n); });
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
