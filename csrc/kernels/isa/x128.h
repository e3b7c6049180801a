// 128-bit building blocks shared by the neon, dotprod and i8mm kernels: the blocks of each fast format as bytes, their
// scales, transposes and sums. Only what every 64-bit ARM has; everything has internal linkage.
//
// A "group" is eight blocks of 32 weights, a whole block of the 256-element formats; a "quad" is one half of it, the four
// blocks whose sums fill a float vector. `u<J>(group)` is block J as 32 bytes; w = scale * (u - kOffset) - min, times
// the integer scale of its half where the format has halves. Widest chain: int32 in integers, float32 with fused
// multiply-add after them.
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "kernels/api.h"

namespace gemlet::kernels {
namespace {

// A block's elements 0..15 and 16..31.
struct Bytes {
  uint8x16_t first, second;
};

inline uint8x16_t load(const uint8_t* p) { return vld1q_u8(p); }
inline int8x16_t load(const int8_t* p) { return vld1q_s8(p); }
inline int8x16_t as_signed(uint8x16_t v) { return vreinterpretq_s8_u8(v); }

inline uint16_t bits_at(const uint8_t* p) {
  uint16_t h = 0;
  std::memcpy(&h, p, 2);
  return h;
}
inline float32x4_t widen(uint16x4_t halves) { return vcvt_f32_f16(vreinterpret_f16_u16(halves)); }
inline float half_at(const uint8_t* p) { return vgetq_lane_f32(widen(vdup_n_u16(bits_at(p))), 0); }

// 16 bytes of nibbles: the low ones are elements 0..15, the high ones 16..31.
inline Bytes nibbles(const uint8_t* packed) {
  const uint8x16_t both = load(packed);
  return {vandq_u8(both, vdupq_n_u8(15)), vshrq_n_u8(both, 4)};
}

// The low or the high nibbles of 16 bytes.
template <bool kHigh>
uint8x16_t nibble(const uint8_t* packed) {
  const uint8x16_t both = load(packed);
  return kHigh ? vshrq_n_u8(both, 4) : vandq_u8(both, vdupq_n_u8(15));
}

// Bits moved left by kLeft, right where that is negative, and of them those in `mask`.
template <int kLeft>
uint8x16_t moved(uint8x16_t v, uint8_t mask) {
  if constexpr (kLeft > 0) v = vshlq_n_u8(v, kLeft);
  if constexpr (kLeft < 0) v = vshrq_n_u8(v, -kLeft);
  return vandq_u8(v, vdupq_n_u8(mask));
}

// The binary16 scales of four blocks that lie kStride bytes apart.
template <size_t kStride>
float32x4_t half_scales(const uint8_t* quad) {
  uint16x4_t h = vdup_n_u16(bits_at(quad));
  h = vset_lane_u16(bits_at(quad + kStride), h, 1);
  h = vset_lane_u16(bits_at(quad + 2 * kStride), h, 2);
  h = vset_lane_u16(bits_at(quad + 3 * kStride), h, 3);
  return widen(h);
}

// kSpan is the largest magnitude of u - kOffset.
template <class Block>
struct FmtLegacy {
  static constexpr bool kHasMin = false, kHasHalves = false, kLegacy = true;
  static constexpr size_t kBytes = sizeof(Block), kGroupBytes = 8 * kBytes;
  template <int kQuad>
  static float32x4_t scales(const uint8_t* g) {
    return half_scales<kBytes>(g + kQuad * 4 * kBytes);
  }
  template <int kQuad>
  static float32x4_t mins(const uint8_t* /*g*/) {
    return vdupq_n_f32(0);
  }
};

struct FmtQ4_0 : FmtLegacy<codec::BlockQ4_0> {
  static constexpr codec::Type kType = codec::Type::Q4_0;
  static constexpr int kOffset = 8, kSpan = 8;
  template <int J>
  static Bytes u(const uint8_t* g) {
    return nibbles(g + J * kBytes + 2);
  }
};

struct FmtQ5_0 : FmtLegacy<codec::BlockQ5_0> {
  static constexpr codec::Type kType = codec::Type::Q5_0;
  static constexpr int kOffset = 16, kSpan = 16;
  // Bit i of two bytes to 16 in byte i.
  static uint8x16_t fifth(const uint8_t* two) {
    const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201ULL));
    const uint8x16_t spread = vcombine_u8(vdup_n_u8(two[0]), vdup_n_u8(two[1]));
    return vandq_u8(vtstq_u8(spread, bit), vdupq_n_u8(16));
  }
  template <int J>
  static Bytes u(const uint8_t* g) {
    const uint8_t* block = g + J * kBytes;
    const Bytes low = nibbles(block + 6);
    return {vorrq_u8(low.first, fifth(block + 2)), vorrq_u8(low.second, fifth(block + 4))};
  }
};

struct FmtQ8_0 : FmtLegacy<codec::BlockQ8_0> {
  static constexpr codec::Type kType = codec::Type::Q8_0;
  static constexpr int kOffset = 0, kSpan = 128;  // u is the signed byte itself
  template <int J>
  static Bytes u(const uint8_t* g) {
    return {load(g + J * kBytes + 2), load(g + J * kBytes + 18)};
  }
};

// The eight six-bit scales and minima of a Q4_K or Q5_K block as bytes: scales in 0..7, minima in 8..15.
inline uint8x16_t scales_mins_k4(const uint8_t* packed) {
  uint32_t a = 0, b = 0, c = 0;
  std::memcpy(&a, packed, 4);
  std::memcpy(&b, packed + 4, 4);
  std::memcpy(&c, packed + 8, 4);
  constexpr uint32_t kSix = 0x3F3F3F3FU, kFour = 0x0F0F0F0FU, kTwo = 0x03030303U;
  const uint64_t scale_high = (c & kFour) | (((a >> 6) & kTwo) << 4);
  const uint64_t min_high = ((c >> 4) & kFour) | (((b >> 6) & kTwo) << 4);
  return vreinterpretq_u8_u64(
      vcombine_u64(vcreate_u64((a & kSix) | scale_high << 32), vcreate_u64((b & kSix) | min_high << 32)));
}

// Bytes 4 kQuad .. 4 kQuad + 3 of eight.
template <int kQuad>
float32x4_t bytes_to_floats(uint8x8_t bytes) {
  const uint16x8_t wide = vmovl_u8(bytes);
  return vcvtq_f32_u32(vmovl_u16(kQuad == 0 ? vget_low_u16(wide) : vget_high_u16(wide)));
}

template <class Block>
struct FmtK4 {
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true, kHasHalves = false, kLegacy = false;
  static constexpr size_t kGroupBytes = sizeof(Block);
  template <int kQuad>
  static float32x4_t scales(const uint8_t* g) {
    return vmulq_n_f32(bytes_to_floats<kQuad>(vget_low_u8(scales_mins_k4(g + 4))), half_at(g));
  }
  template <int kQuad>
  static float32x4_t mins(const uint8_t* g) {
    return vmulq_n_f32(bytes_to_floats<kQuad>(vget_high_u8(scales_mins_k4(g + 4))), half_at(g + 2));
  }
};

struct FmtQ4_K : FmtK4<codec::BlockQ4_K> {
  static constexpr codec::Type kType = codec::Type::Q4_K;
  static constexpr int kSpan = 15;
  template <int J>
  static Bytes u(const uint8_t* g) {
    const uint8_t* packed = g + 16 + J / 2 * 32;
    return {nibble < J % 2 == 1 > (packed), nibble < J % 2 == 1 > (packed + 16)};
  }
};

struct FmtQ5_K : FmtK4<codec::BlockQ5_K> {
  static constexpr codec::Type kType = codec::Type::Q5_K;
  static constexpr int kSpan = 31;
  template <int J>
  static Bytes u(const uint8_t* g) {
    const uint8_t* packed = g + 48 + J / 2 * 32;
    return {vorrq_u8(nibble < J % 2 == 1 > (packed), moved<4 - J>(load(g + 16), 16)),
            vorrq_u8(nibble < J % 2 == 1 > (packed + 16), moved<4 - J>(load(g + 32), 16))};
  }
};

struct FmtQ6_K {
  static constexpr codec::Type kType = codec::Type::Q6_K;
  static constexpr int kOffset = 32, kSpan = 32;
  static constexpr bool kHasMin = false, kHasHalves = true, kLegacy = false;
  static constexpr size_t kGroupBytes = sizeof(codec::BlockQ6_K);
  template <int J>
  static Bytes u(const uint8_t* g) {
    constexpr int kHalf = J / 4, kPart = J % 4;
    const uint8_t *packed = g + kHalf * 64 + kPart % 2 * 32, *high = g + 128 + kHalf * 32;
    return {vorrq_u8(nibble < kPart / 2 == 1 > (packed), moved<4 - 2 * kPart>(load(high), 48)),
            vorrq_u8(nibble < kPart / 2 == 1 > (packed + 16), moved<4 - 2 * kPart>(load(high + 16), 48))};
  }
  template <int kQuad>
  static float32x4_t scales(const uint8_t* g) {
    return vdupq_n_f32(half_at(g + 208));
  }
  // The integer scales of the blocks' first and second halves.
  template <int kQuad>
  static void halves(const uint8_t* g, int32x4_t* s) {
    const int16x8_t both = vmovl_s8(vreinterpret_s8_u8(vld1_u8(g + 192 + 8 * kQuad)));
    const int16x4_t low = vget_low_s16(both), high = vget_high_s16(both);
    s[0] = vmovl_s16(vuzp1_s16(low, high));
    s[1] = vmovl_s16(vuzp2_s16(low, high));
  }
  template <int kQuad>
  static float32x4_t mins(const uint8_t* /*g*/) {
    return vdupq_n_f32(0);
  }
};

// Rows of four 32-bit lanes -> columns.
inline void transpose4(uint32x4_t* v) {
  const auto wide = [](uint32x4_t x) { return vreinterpretq_u64_u32(x); };
  const auto narrow = [](uint64x2_t x) { return vreinterpretq_u32_u64(x); };
  const uint64x2_t even01 = wide(vtrn1q_u32(v[0], v[1])), odd01 = wide(vtrn2q_u32(v[0], v[1]));
  const uint64x2_t even23 = wide(vtrn1q_u32(v[2], v[3])), odd23 = wide(vtrn2q_u32(v[2], v[3]));
  v[0] = narrow(vtrn1q_u64(even01, even23)), v[1] = narrow(vtrn1q_u64(odd01, odd23));
  v[2] = narrow(vtrn2q_u64(even01, even23)), v[3] = narrow(vtrn2q_u64(odd01, odd23));
}

// Panels as kernels/api.h describes them, but signed: four rows x four elements a vector.
struct PanelOfFours {
  // Elements 0..15 of rows 4 h .. 4 h + 3; q is where elements 0..3 of all rows begin.
  static void pack(const uint8x16_t* rows, int h, uint8_t* q) {
    uint32x4_t v[4];
    for (int r = 0; r < 4; ++r) v[r] = vreinterpretq_u32_u8(rows[r]);
    transpose4(v);
    for (int i = 0; i < 4; ++i) vst1q_u8(q + i * kPanelRows * 4 + h * 16, vreinterpretq_u8_u32(v[i]));
  }
};

// Eight partial sums, s[0..3] and s[4..7].
struct Floats8 {
  float32x4_t low, high;
};

inline Floats8 load8(const float* p) { return {vld1q_f32(p), vld1q_f32(p + 4)}; }
inline Floats8 load8(const uint16_t* p) {
  const uint16x8_t halves = vld1q_u16(p);
  return {widen(vget_low_u16(halves)), widen(vget_high_u16(halves))};
}

// s[i] += s[i + n/2] until one is left: the order of kernels/api.h.
inline float fold8(float32x4_t low, float32x4_t high) {
  const float32x4_t four = vaddq_f32(low, high);
  return vpadds_f32(vadd_f32(vget_low_f32(four), vget_high_f32(four)));
}

// The same fold for four at once.
inline float32x4_t fold8x4(const Floats8* s) {
  float64x2_t four[4];
  for (int i = 0; i < 4; ++i) four[i] = vreinterpretq_f64_f32(vaddq_f32(s[i].low, s[i].high));
  const auto two = [](float64x2_t a, float64x2_t b) {
    return vaddq_f32(vreinterpretq_f32_f64(vzip1q_f64(a, b)), vreinterpretq_f32_f64(vzip2q_f64(a, b)));
  };
  return vpaddq_f32(two(four[0], four[1]), two(four[2], four[3]));
}

// exp by the same operations as the scalar twin (kernels/isa/scalar_exp.h). "nm" takes the number where the other is none.
inline float32x4_t exp4(float32x4_t x) {
  x = vmaxnmq_f32(x, vdupq_n_f32(-87.0F));
  x = vminnmq_f32(x, vdupq_n_f32(88.0F));
  const float32x4_t n = vrndnq_f32(vmulq_n_f32(x, 1.44269504F));  // nearest even
  float32x4_t r = vfmsq_f32(x, n, vdupq_n_f32(0.693145752F));
  r = vfmsq_f32(r, n, vdupq_n_f32(1.42860677e-6F));
  float32x4_t p = vdupq_n_f32(1.38145417e-3F);
  p = vfmaq_f32(vdupq_n_f32(8.36874545e-3F), p, r);
  p = vfmaq_f32(vdupq_n_f32(4.1668389e-2F), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.66665211e-1F), p, r);
  p = vfmaq_f32(vdupq_n_f32(0.49999994F), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0F), p, r);
  p = vfmaq_f32(vdupq_n_f32(1.0F), p, r);
  const int32x4_t power = vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23);
  return vmulq_f32(p, vreinterpretq_f32_s32(power));
}

}  // namespace
}  // namespace gemlet::kernels
