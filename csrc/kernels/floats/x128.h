// Float dot products in tiles of 2 rows x 3 tokens, 16 partial sums each (four vectors), and 16-bit conversions.
#pragma once

namespace gemlet::kernels {
namespace {

// The kinds of weights: four of them, and one.
struct F32 {
  using Type = float;
  static float32x4_t four(const float* p) { return vld1q_f32(p); }
  static float one(float f) { return f; }
};
struct F16 {
  using Type = uint16_t;
  static float32x4_t four(const uint16_t* p) { return widen(vld1_u16(p)); }
  static float one(uint16_t half) { return vgetq_lane_f32(widen(vdup_n_u16(half)), 0); }
};
struct BF16 {
  using Type = uint16_t;
  static float32x4_t four(const uint16_t* p) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16)); }
  static float one(uint16_t half) {
    return vgetq_lane_f32(vreinterpretq_f32_u32(vshll_n_u16(vdup_n_u16(half), 16)), 0);
  }
};

template <class W, int NR, int NT>
void dot_tile(const typename W::Type* w, int64_t ldw, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy) {
  float32x4_t s[NR][NT][4];
  for (int r = 0; r < NR; ++r)
    for (int t = 0; t < NT; ++t)
      for (int h = 0; h < 4; ++h) s[r][t][h] = vdupq_n_f32(0);
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
#pragma GCC unroll 4
    for (int h = 0; h < 4; ++h) {
      float32x4_t weights[NR];
      for (int r = 0; r < NR; ++r) weights[r] = W::four(w + r * ldw + i + 4 * h);
#pragma GCC unroll 4
      for (int t = 0; t < NT; ++t) {
        const float32x4_t v = vld1q_f32(x + t * ldx + i + 4 * h);
#pragma GCC unroll 4
        for (int r = 0; r < NR; ++r) s[r][t][h] = vfmaq_f32(s[r][t][h], weights[r], v);
      }
    }
  }
  for (int r = 0; r < NR; ++r) {
    for (int t = 0; t < NT; ++t) {
      float part[16];
      for (int h = 0; h < 4; ++h) vst1q_f32(part + 4 * h, s[r][t][h]);
      for (int64_t j = i; j < k; ++j)
        part[j % 16] = __builtin_fmaf(W::one(w[r * ldw + j]), x[t * ldx + j], part[j % 16]);
      const Floats8 a = load8(part), b = load8(part + 8);
      y[t * ldy + r] = fold8(vaddq_f32(a.low, b.low), vaddq_f32(a.high, b.high));
    }
  }
}

template <int NR>
void dot_rows(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t count, int64_t k, float* y,
              int64_t ldy) {
  int64_t t = 0;
  for (; t + 3 <= count; t += 3) dot_tile<F32, NR, 3>(w, ldw, x + t * ldx, ldx, k, y + t * ldy, ldy);
  for (; t < count; ++t) dot_tile<F32, NR, 1>(w, ldw, x + t * ldx, ldx, k, y + t * ldy, ldy);
}

inline void dot_f32(const float* w, int64_t ldw, int64_t rows, const float* x, int64_t ldx, int64_t count, int64_t k,
                    float* y, int64_t ldy) {
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) dot_rows<2>(w + r * ldw, ldw, x, ldx, count, k, y + r, ldy);
  for (; r < rows; ++r) dot_rows<1>(w + r * ldw, ldw, x, ldx, count, k, y + r, ldy);
}

template <class W>
void matvec_16(const uint16_t* w, int64_t ldw, int64_t rows, const float* x, int64_t k, float* y) {
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) dot_tile<W, 2, 1>(w + r * ldw, ldw, x, 0, k, y + r, 0);
  if (r < rows) dot_tile<W, 1, 1>(w + r * ldw, ldw, x, 0, k, y + r, 0);
}

template <class W>
void widen_row(const uint16_t* x, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(y + i, W::four(x + i));
  for (; i < n; ++i) y[i] = W::one(x[i]);
}

inline uint16x4_t narrow(float32x4_t v) { return vreinterpret_u16_f16(vcvt_f16_f32(v)); }  // nearest even

inline void narrow_f16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1_u16(y + i, narrow(vld1q_f32(x + i)));
  for (; i < n; ++i) y[i] = vget_lane_u16(narrow(vdupq_n_f32(x[i])), 0);
}

inline void add_all(Table& table) {
  table.dot_f32 = dot_f32;
  table.matvec_f16 = matvec_16<F16>;
  table.matvec_bf16 = matvec_16<BF16>;
  table.widen_f16 = widen_row<F16>;
  table.widen_bf16 = widen_row<BF16>;
  table.narrow_f16 = narrow_f16;
}

}  // namespace
}  // namespace gemlet::kernels
