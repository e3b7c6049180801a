// One tile of attention over pages of floats. Scores: 4 rows x 2 keys a step, or 1 x 4; values: 4 rows x 16 channels. Keys
// of few rows are converted on the way into the registers.
#pragma once

#include "kernels/attend/bytes_x128.h"
#include "kernels/attend/chunks.h"
#include "kernels/attend/tile_x128.h"

namespace gemlet::kernels {
namespace {

inline float32x4_t four(const float* p) { return vld1q_f32(p); }
inline float32x4_t four(const uint16_t* p) { return widen(vld1_u16(p)); }

// Rows lie a line more than C apart: with C a power of two, the same channel of all keys would fall into one or two sets
// of the first cache.
inline Chunk<float> widened(const AttendTile& tile, const void* const* pages, int64_t j, int64_t n) {
  const int64_t apart = tile.channels + 16;
  const auto* x = static_cast<const uint16_t*>(pages[j / kPageKeys]) + j % kPageKeys * tile.channels;
  for (int64_t i = 0; i < n; ++i) {
    fetch_ahead(x + i * tile.channels, tile.channels * 2);
    for (int64_t c = 0; c < tile.channels; c += 4)
      vst1q_f32(tile.widened + i * apart + c, four(x + i * tile.channels + c));
  }
  return {tile.widened, apart, false};
}

// NR query rows against NK keys.
template <int NR, int NK, class T>
void score_tile(const float* q, int64_t ldq, Chunk<T> k, int64_t channels, float scale, float* scores) {
  constexpr int kSums = (NR * NK + 3) / 4 * 4;  // they are folded in fours
  Floats8 s[kSums];
  for (Floats8& sum : s) sum = {vdupq_n_f32(0), vdupq_n_f32(0)};
  for (int64_t c = 0; c < channels; c += 8) {
    Floats8 key[NK];
#pragma GCC unroll 4
    for (int j = 0; j < NK; ++j) key[j] = load8(k.data + j * k.apart + c);
#pragma GCC unroll 4
    for (int r = 0; r < NR; ++r) {
      const Floats8 query = load8(q + r * ldq + c);
#pragma GCC unroll 4
      for (int j = 0; j < NK; ++j) {
        Floats8& sum = s[r * NK + j];
        sum = {vfmaq_f32(sum.low, query.low, key[j].low), vfmaq_f32(sum.high, query.high, key[j].high)};
      }
    }
  }
  float out[kSums];
  for (int i = 0; i < kSums; i += 4) vst1q_f32(out + i, vmulq_n_f32(fold8x4(s + i), scale));
  for (int r = 0; r < NR; ++r) std::memcpy(scores + r * kTileKeys, out + r * NK, NK * sizeof(float));
}

// out (NR rows, 4 NV channels from c) += weights of keys [j, j + n) x v.
template <int NR, int NV, class T>
void value_tile(const AttendTile& tile, int64_t r, Chunk<T> v, int64_t j, int64_t n, int64_t c) {
  float32x4_t s[NR][NV];
  float* out = tile.out + r * tile.channels + c;
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < NV; ++h) s[i][h] = vld1q_f32(out + i * tile.channels + 4 * h);
  const float* weights = tile.scores + r * kTileKeys + j;
  for (int64_t key = 0; key < n; ++key) {
    float32x4_t value[NV];
    for (int h = 0; h < NV; ++h) value[h] = four(v.data + key * v.apart + c + 4 * h);
#pragma GCC unroll 4
    for (int i = 0; i < NR; ++i)
      for (int h = 0; h < NV; ++h) s[i][h] = vfmaq_n_f32(s[i][h], value[h], weights[i * kTileKeys + key]);
  }
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < NV; ++h) vst1q_f32(out + i * tile.channels + 4 * h, s[i][h]);
}

struct Body128 {
  static constexpr int kScoreRows = 4;

  // NR query rows from r on against keys [j, j + n).
  template <int NR, class T>
  static void scores(const AttendTile& tile, int64_t r, Chunk<T> k, int64_t j, int64_t n) {
    constexpr int kKeys = NR == 1 ? 4 : 2;
    const float* q = tile.q + r * tile.ldq;
    float* scores = tile.scores + r * kTileKeys + j;
    int64_t i = 0;
    for (; i + kKeys <= n; i += kKeys) {
      if (r == 0 && k.more) fetch(k.data + (n + i) * k.apart, kKeys * k.apart * static_cast<int64_t>(sizeof(T)));
      score_tile<NR, kKeys>(q, tile.ldq, k.from(i), tile.channels, tile.scale, scores + i);
    }
    for (; i < n; ++i) score_tile<NR, 1>(q, tile.ldq, k.from(i), tile.channels, tile.scale, scores + i);
  }

  template <int NR, class T>
  static void values(const AttendTile& tile, int64_t r, Chunk<T> v, int64_t j, int64_t n) {
    int64_t c = 0;
    for (; c + 16 <= tile.channels; c += 16) {
      if (r == 0 && v.more) fetch(v.data + n * v.apart + c * n, 16 * n * static_cast<int64_t>(sizeof(T)));
      value_tile<NR, 4>(tile, r, v, j, n, c);
    }
    for (; c < tile.channels; c += 8) value_tile<NR, 2>(tile, r, v, j, n, c);
  }
};

inline float exp1(float x) { return vgetq_lane_f32(exp4(vdupq_n_f32(x)), 0); }

inline void attend_merge(const AttendTile& tile, float* acc_max, float* acc_sum, float* acc_out, int64_t ld) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    if (tile.sum[row] == 0) continue;
    const float max = tile.max[row] > acc_max[row] ? tile.max[row] : acc_max[row];
    const float old_factor = acc_sum[row] == 0 ? 0.0F : exp1(acc_max[row] - max);
    const float new_factor = exp1(tile.max[row] - max);
    acc_max[row] = max;
    acc_sum[row] = __builtin_fmaf(tile.sum[row], new_factor, acc_sum[row] * old_factor);
    const float* in = tile.out + row * tile.channels;
    float* out = acc_out + row * ld;
    for (int64_t c = 0; c < tile.channels; c += 4)
      vst1q_f32(out + c, vfmaq_n_f32(vmulq_n_f32(vld1q_f32(out + c), old_factor), vld1q_f32(in + c), new_factor));
  }
}

inline void add_all(Table& table) {
  table.quantize16 = quantize16;
  table.attend = attend<Body128, Body128, Pairs128>;
  table.attend_merge = attend_merge;
}

}  // namespace
}  // namespace gemlet::kernels
