// Panels of 16 weight rows against tokens: unpacked once a token block, then multiplied in tiles of 16 rows x 4 tokens.
// Lanes are rows, so a block's scale is one vector and no horizontal sum is needed. The float sums (kPhases of them) live
// in L1; the integer sums of a block in registers. `PanelDot` comes from the including file's set: how a panel's bytes lie,
// and their products.
#pragma once

namespace gemlet::kernels {
namespace {

constexpr int64_t kPanelBlock = 8 * kPanelRows * 4;  // bytes of a block of 32 for 16 rows
constexpr int kTileTokens = 4;

// ---- unpacking ----------------------------------------------------------------------------------------------------

// Block J of four rows, the h-th four of the panel.
template <class F, int J>
void unpack_block(const uint8_t* const* g, int h, uint8_t* q) {
  const uint8x16_t offset = vdupq_n_u8(F::kOffset);
  uint8x16_t first[4], second[4];
  for (int r = 0; r < 4; ++r) {
    const Bytes u = F::template u<J>(g[r]);
    first[r] = vsubq_u8(u.first, offset), second[r] = vsubq_u8(u.second, offset);
  }
  PanelDot::pack(first, h, q + J * kPanelBlock);
  PanelDot::pack(second, h, q + J * kPanelBlock + kPanelBlock / 2);
}

// Lanes are blocks in `rows`, rows in the panel.
inline void store_transposed(uint32x4_t* rows, float* out) {
  transpose4(rows);
  for (int j = 0; j < 4; ++j) vst1q_f32(out + j * kPanelRows, vreinterpretq_f32_u32(rows[j]));
}

// The same for scales of one half of each block.
inline void store_transposed(uint32x4_t* rows, int32_t* out) {
  transpose4(rows);
  for (int j = 0; j < 4; ++j) vst1q_s32(out + j * 2 * kPanelRows, vreinterpretq_s32_u32(rows[j]));
}

// Blocks 4 kQuad .. 4 kQuad + 3 of a group of four rows, the h-th four of the panel; `to` is the group's place in it.
template <class F, int kQuad>
void unpack_quad(const uint8_t* const* g, int h, const Panel& to) {
  constexpr int J = 4 * kQuad;
  uint8_t* const q = to.q;
  unpack_block<F, J>(g, h, q), unpack_block<F, J + 1>(g, h, q);
  unpack_block<F, J + 2>(g, h, q), unpack_block<F, J + 3>(g, h, q);
  uint32x4_t rows[4];
  for (int r = 0; r < 4; ++r) rows[r] = vreinterpretq_u32_f32(F::template scales<kQuad>(g[r]));
  store_transposed(rows, to.scale + J * kPanelRows + 4 * h);
  if constexpr (F::kHasMin) {
    for (int r = 0; r < 4; ++r) rows[r] = vreinterpretq_u32_f32(F::template mins<kQuad>(g[r]));
    store_transposed(rows, to.min + J * kPanelRows + 4 * h);
  }
  if constexpr (F::kHasHalves) {
    uint32x4_t second[4];
    for (int r = 0; r < 4; ++r) {
      int32x4_t s[2];
      F::template halves<kQuad>(g[r], s);
      rows[r] = vreinterpretq_u32_s32(s[0]), second[r] = vreinterpretq_u32_s32(s[1]);
    }
    store_transposed(rows, to.halves + 2 * J * kPanelRows + 4 * h);
    store_transposed(second, to.halves + (2 * J + 1) * kPanelRows + 4 * h);
  }
}

template <class F>
void unpack(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const Panel& panel) {
  uint8_t padded[4][F::kGroupBytes] = {};  // the rows' last blocks, padded with zero blocks
  for (int h = 0; h < kPanelRows / 4; ++h) {
    for (int64_t b = 0; b < blocks; b += 8) {
      const uint8_t* g[4];
      for (int64_t i = 0; i < 4; ++i) {
        const int64_t r = h * 4 + i < rows ? h * 4 + i : rows - 1;
        g[i] = w + static_cast<size_t>(r) * row_bytes + static_cast<size_t>(b / 8) * F::kGroupBytes;
        if (blocks - b < 8) {
          std::memcpy(padded[i], g[i], static_cast<size_t>(blocks - b) * (F::kGroupBytes / 8));
          g[i] = padded[i];
        }
      }
      const int64_t at = b * kPanelRows;
      const Panel to{panel.q + b * kPanelBlock, panel.scale + at, F::kHasMin ? panel.min + at : nullptr,
                     F::kHasHalves ? panel.halves + 2 * at : nullptr};
      unpack_quad<F, 0>(g, h, to);
      unpack_quad<F, 1>(g, h, to);
    }
  }
}

// ---- products -----------------------------------------------------------------------------------------------------

// The float sums of a tile: phase, token, four rows of the 16.
template <int NT>
struct Sums {
  float32x4_t s[kPhases][NT][4];
};

// Block b: the integers of NT tokens x 16 rows.
template <class F, int NT>
void block_sums(const Panel& panel, const int8_t* const* q, int64_t b, int32x4_t (&dot)[NT][4]) {
  const uint8_t* w = panel.q + b * kPanelBlock;
  if constexpr (!F::kHasHalves) {
    PanelDot::template sums<F, NT, 8>(w, q, dot);
  } else {
    int32x4_t second[NT][4];
    const int8_t* rest[NT];
    for (int t = 0; t < NT; ++t) rest[t] = q[t] + kBlock / 2;
    PanelDot::template sums<F, NT, 4>(w, q, dot);
    PanelDot::template sums<F, NT, 4>(w + kPanelBlock / 2, rest, second);
    const int32_t* scale = panel.halves + b * 2 * kPanelRows;
    for (int h = 0; h < 4; ++h) {
      const int32x4_t s0 = vld1q_s32(scale + 4 * h), s1 = vld1q_s32(scale + kPanelRows + 4 * h);
      for (int t = 0; t < NT; ++t) dot[t][h] = vmlaq_s32(vmulq_s32(dot[t][h], s0), second[t][h], s1);
    }
  }
}

template <class F, int NT>
void add_tile_block(const Panel& panel, const QuantRows& x, int64_t t0, int64_t b, float32x4_t (&sums)[NT][4]) {
  const int64_t at = t0 * x.blocks + b;
  const int8_t* q[NT];
  for (int t = 0; t < NT; ++t) q[t] = x.q + (at + t * x.blocks) * kBlock;
  int32x4_t dot[NT][4];
  block_sums<F, NT>(panel, q, b, dot);
  for (int h = 0; h < 4; ++h) {
    const float32x4_t s = vld1q_f32(panel.scale + b * kPanelRows + 4 * h);
    const float32x4_t min = F::kHasMin ? vld1q_f32(panel.min + b * kPanelRows + 4 * h) : s;
    for (int t = 0; t < NT; ++t) {
      const int64_t block = at + t * x.blocks;
      float32x4_t sum = vfmaq_f32(sums[t][h], vcvtq_f32_s32(dot[t][h]), vmulq_n_f32(s, x.d[block]));
      if (F::kHasMin) sum = vfmsq_n_f32(sum, min, x.dsum[block]);
      sums[t][h] = sum;
    }
  }
}

inline void store_rows(const float32x4_t* sums, int64_t rows, float* y) {
  float all[kPanelRows];
  for (int h = 0; h < 4; ++h) vst1q_f32(all + 4 * h, sums[h]);
  std::memcpy(y, all, static_cast<size_t>(rows) * sizeof(float));
}

template <class F, int NT>
void tile(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t t0, float* y, int64_t ldy) {
  Sums<NT> sums;
  for (auto& phase : sums.s)
    for (auto& token : phase)
      for (float32x4_t& s : token) s = vdupq_n_f32(0);
  for (int64_t b = 0; b < blocks; ++b) add_tile_block<F, NT>(panel, x, t0, b, sums.s[b % kPhases]);
  for (int n = kPhases / 2; n > 0; n /= 2)
    for (int p = 0; p < n; ++p)
      for (int t = 0; t < NT; ++t)
        for (int h = 0; h < 4; ++h) sums.s[p][t][h] = vaddq_f32(sums.s[p][t][h], sums.s[p + n][t][h]);
  for (int t = 0; t < NT; ++t) store_rows(sums.s[0][t], rows, y + (t0 + t) * ldy);
}

template <class F>
void gemm(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t count, float* y, int64_t ldy) {
  int64_t t = 0;
  for (; t + kTileTokens <= count; t += kTileTokens) tile<F, kTileTokens>(panel, rows, blocks, x, t, y, ldy);
  for (; t + 2 <= count; t += 2) tile<F, 2>(panel, rows, blocks, x, t, y, ldy);
  for (; t < count; ++t) tile<F, 1>(panel, rows, blocks, x, t, y, ldy);
}

template <class F>
void add(Format& format) {
  format.unpack = unpack<F>;
  format.gemm = gemm<F>;
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
