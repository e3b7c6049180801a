// Attention over Q8_0 pages in 128-bit vectors: queries, weights and scales as integers, and pairs of products. A page keeps
// pairs side by side; ld2 takes them apart, so that smlal multiplies by a lane and no sums of neighbours are needed.
#pragma once

#include "kernels/attend/bytes.h"
#include "kernels/attend/tile_x128.h"

namespace gemlet::kernels {
namespace {

inline float quantize16(const float* x, int64_t n, int32_t most_level, int16_t* q) {
  const auto levels = static_cast<float>(most_level);
  int32x4_t most = vdupq_n_s32(0);  // as integers, so that NaN is the largest
  for (int64_t i = 0; i < n; i += 4) most = vmaxq_s32(most, vreinterpretq_s32_f32(vabsq_f32(vld1q_f32(x + i))));
  const int32_t bits = vmaxvq_s32(most);
  float top = 0;
  std::memcpy(&top, &bits, 4);
  const bool finite = bits < 0x7F800000, some = finite && top >= kLeastWeight;
  if (!some) {
    std::memset(q, 0, static_cast<size_t>(n) * sizeof(int16_t));
    return finite ? 0.0F : __builtin_nanf("");
  }
  const float to_integer = levels / top;
  for (int64_t i = 0; i < n; i += 4)
    vst1_s16(q + i, vmovn_s32(vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + i), to_integer))));
  return top / levels;
}

// The largest of four lanes that are not negative; NaN counts as the largest.
inline float largest_of(int32x4_t bits) { return vmaxvq_f32(vreinterpretq_f32_s32(vdupq_n_s32(vmaxvq_s32(bits)))); }

inline float normalize_weights(float* weights) {
  int32x4_t most = vdupq_n_s32(0);
  for (int i = 0; i < kPageKeys; i += 4) most = vmaxq_s32(most, vreinterpretq_s32_f32(vld1q_f32(weights + i)));
  const float largest = largest_of(most);
  const bool counts = largest >= kLeastWeight;
  const float factor = counts ? 1.0F / largest : 0.0F;
  for (int i = 0; i < kPageKeys; i += 4) vst1q_f32(weights + i, vmulq_n_f32(vld1q_f32(weights + i), factor));
  return counts ? largest : 0.0F;
}

inline float normalize_scales(const uint8_t* block, Span seen, float* scales) {
  float32x4_t s[kPageKeys / 4];
  int32x4_t most = vdupq_n_s32(0);
  for (int i = 0; i < kPageKeys / 4; ++i) {
    s[i] = only(widen(vreinterpret_u16_u8(vld1_u8(block + 8 * i))), inside(lanes_from(4 * i), seen));
    most = vmaxq_s32(most, vreinterpretq_s32_f32(s[i]));
  }
  const float largest = largest_of(most);
  const float factor = largest == 0 ? 0.0F : 32767.0F / largest;
  for (int i = 0; i < kPageKeys / 4; ++i) vst1q_f32(scales + 4 * i, vmulq_n_f32(s[i], factor));
  return largest * (1.0F / 32767.0F);
}

inline void weights_to_integers(const float* weights, const float* scales, int16_t* out) {
  for (int i = 0; i < kPageKeys; i += 4)
    vst1_s16(out + i, vmovn_s32(vcvtnq_s32_f32(vmulq_f32(vld1q_f32(weights + i), vld1q_f32(scales + i)))));
}

// Eight lanes of 32 bits.
struct Pairs128 {
  struct Wide {
    int16x8_t even, odd;  // the first and the second of each pair
  };
  using Two = int16x4_t;
  struct Integers {
    int32x4_t low, high;
  };
  using Floats = Floats8;
  static constexpr int kLanes = 8, kScoreRows = 4;
  static Integers none() { return {vdupq_n_s32(0), vdupq_n_s32(0)}; }
  static Floats zero() { return {vdupq_n_f32(0), vdupq_n_f32(0)}; }
  static Wide widen(const uint8_t* bytes) {
    const uint8x8x2_t pairs = vld2_u8(bytes);
    return {vmovl_s8(vreinterpret_s8_u8(pairs.val[0])), vmovl_s8(vreinterpret_s8_u8(pairs.val[1]))};
  }
  static Two broadcast(const int16_t* pair) {
    int32_t two = 0;
    std::memcpy(&two, pair, 4);
    return vreinterpret_s16_s32(vdup_n_s32(two));
  }
  static Integers multiply(Wide w, Two two) {
    return odd({vmull_lane_s16(vget_low_s16(w.even), two, 0), vmull_high_lane_s16(w.even, two, 0)}, w, two);
  }
  static Integers add(Integers sum, Wide w, Two two) {
    return odd({vmlal_lane_s16(sum.low, vget_low_s16(w.even), two, 0), vmlal_high_lane_s16(sum.high, w.even, two, 0)},
               w, two);
  }
  static Floats to_float(Integers v) { return {vcvtq_f32_s32(v.low), vcvtq_f32_s32(v.high)}; }
  static Floats halves(const uint8_t* p) {
    const uint16x8_t h = vreinterpretq_u16_u8(load(p));
    return {kernels::widen(vget_low_u16(h)), kernels::widen(vget_high_u16(h))};
  }
  static Floats fma(Floats a, Floats b, Floats c) {
    return {vfmaq_f32(c.low, a.low, b.low), vfmaq_f32(c.high, a.high, b.high)};
  }
  static void store_times(Floats v, float factor, float* out) {
    vst1q_f32(out, vmulq_n_f32(v.low, factor)), vst1q_f32(out + 4, vmulq_n_f32(v.high, factor));
  }
  static void add_times(Integers v, float factor, float* out) {
    const Floats f = to_float(v);
    vst1q_f32(out, vfmaq_n_f32(vld1q_f32(out), f.low, factor));
    vst1q_f32(out + 4, vfmaq_n_f32(vld1q_f32(out + 4), f.high, factor));
  }

 private:
  static Integers odd(Integers sum, Wide w, Two two) {
    return {vmlal_lane_s16(sum.low, vget_low_s16(w.odd), two, 1), vmlal_high_lane_s16(sum.high, w.odd, two, 1)};
  }
};

}  // namespace
}  // namespace gemlet::kernels
