// Row operations on 128-bit vectors; each function repeats its scalar twin's operations lane by lane.
#pragma once

namespace gemlet::kernels {
namespace {

// ---- quantise -----------------------------------------------------------------------------------------------------

constexpr float kLargest = 3.4028235e38F;

// Returns the sum of q.
inline int32_t quantize_block(const float* x, int8_t* q, float& d, int16_t* minus32) {
  float32x4_t v[8], amax = vdupq_n_f32(0);
  uint32x4_t good = vdupq_n_u32(~0U);
  for (int i = 0; i < 8; ++i) {
    v[i] = vld1q_f32(x + 4 * i);
    const float32x4_t a = vabsq_f32(v[i]);
    good = vandq_u32(good, vcleq_f32(a, vdupq_n_f32(kLargest)));  // false for NaN as well
    amax = vmaxq_f32(amax, a);
  }
  if (vminvq_u32(good) == 0) {
    d = __builtin_nanf("");
    std::memset(minus32, 0, 4 * sizeof(int16_t));
    std::memset(q, 0, kBlock);
    return 0;
  }
  const float most = vmaxvq_f32(amax);
  d = most / 127.0F;
  const float exact = 127.0F / most;
  const float inverse = most == 0 ? 0.0F : exact < kLargest ? exact : kLargest;
  int32x4_t i[8];
  for (int j = 0; j < 8; ++j) i[j] = vcvtnq_s32_f32(vmulq_n_f32(v[j], inverse));  // nearest even
  int32x4_t four_sums[2];
  for (int half = 0; half < 2; ++half) {
    const int32x4_t* four = i + 4 * half;
    four_sums[half] = vaddq_s32(vaddq_s32(four[0], four[1]), vaddq_s32(four[2], four[3]));
    const int16x8_t low = vcombine_s16(vmovn_s32(four[0]), vmovn_s32(four[1]));
    const int16x8_t high = vcombine_s16(vmovn_s32(four[2]), vmovn_s32(four[3]));
    vst1q_s8(q + 16 * half, vcombine_s8(vmovn_s16(low), vmovn_s16(high)));
  }
  const int32x4_t sums = vpaddq_s32(four_sums[0], four_sums[1]);
  vst1_s16(minus32, vmovn_s32(vmulq_n_s32(sums, -32)));
  return vaddvq_s32(sums);
}

inline void quantize(const float* x, int64_t k, const QuantRows& row) {
  for (int64_t b = 0; b < row.blocks; ++b) {
    const int64_t left = k - b * kBlock;
    if (left >= kBlock) {
      row.sum[b] = quantize_block(x + b * kBlock, row.q + b * kBlock, row.d[b], row.minus32 + 4 * b);
    } else {
      float padded[kBlock] = {};
      if (left > 0) std::memcpy(padded, x + b * kBlock, static_cast<size_t>(left) * sizeof(float));
      row.sum[b] = quantize_block(padded, row.q + b * kBlock, row.d[b], row.minus32 + 4 * b);
    }
    row.dsum[b] = row.d[b] * static_cast<float>(row.sum[b]);
  }
}

// ---- norms --------------------------------------------------------------------------------------------------------

inline float inverse_rms(const float* x, float eps, int64_t n) {
  Floats8 sums{vdupq_n_f32(0), vdupq_n_f32(0)};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Floats8 v = load8(x + i);
    sums = {vfmaq_f32(sums.low, v.low, v.low), vfmaq_f32(sums.high, v.high, v.high)};
  }
  float s[8];
  vst1q_f32(s, sums.low), vst1q_f32(s + 4, sums.high);
  for (; i < n; ++i) s[i % 8] = __builtin_fmaf(x[i], x[i], s[i % 8]);
  const Floats8 all = load8(s);
  const float mean = fold8(all.low, all.high) / static_cast<float>(n) + eps;
  return 1.0F / vget_lane_f32(vsqrt_f32(vdup_n_f32(mean)), 0);
}

template <bool kAdd>
void norm(const float* x, const float* w, float eps, int64_t n, float* y) {
  const float inverse = inverse_rms(x, eps, n);
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    float32x4_t v = vmulq_n_f32(vld1q_f32(x + i), inverse);
    if (w != nullptr) v = vmulq_f32(v, vld1q_f32(w + i));
    if (kAdd) v = vaddq_f32(vld1q_f32(y + i), v);
    vst1q_f32(y + i, v);
  }
  for (; i < n; ++i) {
    const float v = w != nullptr ? x[i] * inverse * w[i] : x[i] * inverse;
    y[i] = kAdd ? y[i] + v : v;
  }
}

inline float fold_array(const float* s) {
  const Floats8 all = load8(s);
  return fold8(all.low, all.high);
}

inline void layer_norm(const float* x, const float* w, const float* b, float eps, int64_t n, float* y) {
  Floats8 sums{vdupq_n_f32(0), vdupq_n_f32(0)};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Floats8 v = load8(x + i);
    sums = {vaddq_f32(sums.low, v.low), vaddq_f32(sums.high, v.high)};
  }
  float s[8];
  vst1q_f32(s, sums.low), vst1q_f32(s + 4, sums.high);
  for (int64_t j = i; j < n; ++j) s[j % 8] += x[j];
  const float mean = fold_array(s) / static_cast<float>(n);
  const float32x4_t middle = vdupq_n_f32(mean);
  sums = {vdupq_n_f32(0), vdupq_n_f32(0)};
  for (i = 0; i + 8 <= n; i += 8) {
    const float32x4_t low = vsubq_f32(vld1q_f32(x + i), middle), high = vsubq_f32(vld1q_f32(x + i + 4), middle);
    sums = {vfmaq_f32(sums.low, low, low), vfmaq_f32(sums.high, high, high)};
  }
  vst1q_f32(s, sums.low), vst1q_f32(s + 4, sums.high);
  for (int64_t j = i; j < n; ++j) s[j % 8] = __builtin_fmaf(x[j] - mean, x[j] - mean, s[j % 8]);
  const float variance = fold_array(s) / static_cast<float>(n) + eps;
  const float inverse = 1.0F / vget_lane_f32(vsqrt_f32(vdup_n_f32(variance)), 0);
  for (i = 0; i + 4 <= n; i += 4) {
    const float32x4_t v = vmulq_n_f32(vsubq_f32(vld1q_f32(x + i), middle), inverse);
    vst1q_f32(y + i, vfmaq_f32(vld1q_f32(b + i), v, vld1q_f32(w + i)));
  }
  for (; i < n; ++i) y[i] = __builtin_fmaf((x[i] - mean) * inverse, w[i], b[i]);
}

// ---- activations --------------------------------------------------------------------------------------------------

inline float32x4_t gelu_mul4(float32x4_t g, float32x4_t up) {
  const float32x4_t cube = vmulq_f32(vmulq_f32(g, g), g);
  const float32x4_t inner = vfmaq_f32(g, cube, vdupq_n_f32(0.044715F));
  const float32x4_t e = exp4(vmulq_n_f32(inner, -1.59576912F));
  return vmulq_f32(vdivq_f32(g, vaddq_f32(vdupq_n_f32(1.0F), e)), up);
}

inline float32x4_t sigmoid_mul4(float32x4_t a, float32x4_t b) {
  const float32x4_t e = exp4(vsubq_f32(vdupq_n_f32(0), b));
  return vbslq_f32(vceqq_f32(b, b), vdivq_f32(a, vaddq_f32(vdupq_n_f32(1.0F), e)), b);  // NaN stays
}

inline float32x4_t gelu_erf4(float32x4_t v) {
  const float32x4_t one = vdupq_n_f32(1.0F), a = vmulq_n_f32(vabsq_f32(v), 0.707106781F);
  const float32x4_t t = vdivq_f32(one, vfmaq_f32(one, a, vdupq_n_f32(0.3275911F)));
  float32x4_t p = vdupq_n_f32(0.5307027145F);
  p = vfmaq_f32(vdupq_n_f32(-0.7265760135F), p, t);
  p = vfmaq_f32(vdupq_n_f32(0.7107068705F), p, t);
  p = vfmaq_f32(vdupq_n_f32(-0.142248368F), p, t);
  p = vfmaq_f32(vdupq_n_f32(0.127414796F), p, t);
  const float32x4_t share = vmulq_f32(vmulq_f32(p, t), exp4(vnegq_f32(vmulq_f32(a, a))));
  return vbslq_f32(vcgeq_f32(v, vdupq_n_f32(0)), vfmsq_f32(v, v, share), vmulq_f32(v, share));
}

inline float32x4_t softcap4(float32x4_t x, float cap, float inverse) {
  const float32x4_t v = vmulq_n_f32(x, inverse), one = vdupq_n_f32(1.0F);
  const float32x4_t e = exp4(vaddq_f32(v, v));
  const float32x4_t tanh = vsubq_f32(one, vdivq_f32(vdupq_n_f32(2.0F), vaddq_f32(one, e)));
  return vmulq_n_f32(tanh, cap);
}

// The first n of four floats, zeros after them, and back.
inline float32x4_t load_some(const float* p, int64_t n) {
  float v[4] = {};
  std::memcpy(v, p, static_cast<size_t>(n) * sizeof(float));
  return vld1q_f32(v);
}
inline void store_some(float32x4_t v, float* p, int64_t n) {
  float four[4];
  vst1q_f32(four, v);
  std::memcpy(p, four, static_cast<size_t>(n) * sizeof(float));
}

inline void gelu_mul(const float* gate, const float* up, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(y + i, gelu_mul4(vld1q_f32(gate + i), vld1q_f32(up + i)));
  if (i < n) store_some(gelu_mul4(load_some(gate + i, n - i), load_some(up + i, n - i)), y + i, n - i);
}

inline void sigmoid_mul(const float* a, const float* b, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(y + i, sigmoid_mul4(vld1q_f32(a + i), vld1q_f32(b + i)));
  if (i < n) store_some(sigmoid_mul4(load_some(a + i, n - i), load_some(b + i, n - i)), y + i, n - i);
}

inline void gelu_erf(const float* bias, int64_t n, float* x) {
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const float32x4_t v = vld1q_f32(x + i);
    vst1q_f32(x + i, gelu_erf4(bias != nullptr ? vaddq_f32(v, vld1q_f32(bias + i)) : v));
  }
  if (i == n) return;
  float32x4_t v = load_some(x + i, n - i);
  if (bias != nullptr) v = vaddq_f32(v, load_some(bias + i, n - i));
  store_some(gelu_erf4(v), x + i, n - i);
}

inline void softcap(float cap, int64_t n, float* x) {
  const float inverse = 1.0F / cap;
  int64_t i = 0;
  for (; i + 4 <= n; i += 4) vst1q_f32(x + i, softcap4(vld1q_f32(x + i), cap, inverse));
  if (i < n) store_some(softcap4(load_some(x + i, n - i), cap, inverse), x + i, n - i);
}

inline void rope(const float* x, const float* cos, const float* sin, int64_t channels, float* y) {
  const int64_t half = channels / 2;
  int64_t d = 0;
  for (; d + 4 <= half; d += 4) {
    const float32x4_t a = vld1q_f32(x + d), b = vld1q_f32(x + d + half);
    const float32x4_t c = vld1q_f32(cos + d), s = vld1q_f32(sin + d);
    vst1q_f32(y + d, vfmaq_f32(vnegq_f32(vmulq_f32(b, s)), a, c));
    vst1q_f32(y + d + half, vfmaq_f32(vmulq_f32(a, s), b, c));
  }
  for (; d < half; ++d) {
    const float a = x[d], b = x[d + half];
    y[d] = __builtin_fmaf(a, cos[d], -(b * sin[d]));
    y[d + half] = __builtin_fmaf(b, cos[d], a * sin[d]);
  }
}

inline void scale(float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

inline float sum_exp(const float* x, int64_t n, float max) {
  const float32x4_t most = vdupq_n_f32(max);
  Floats8 sums{vdupq_n_f32(0), vdupq_n_f32(0)};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const Floats8 v = load8(x + i);
    sums = {vaddq_f32(sums.low, exp4(vsubq_f32(v.low, most))), vaddq_f32(sums.high, exp4(vsubq_f32(v.high, most)))};
  }
  float s[8], rest[8] = {};
  vst1q_f32(s, sums.low), vst1q_f32(s + 4, sums.high);
  if (i < n) std::memcpy(rest, x + i, static_cast<size_t>(n - i) * sizeof(float));
  for (int h = 0; h < 8; h += 4) vst1q_f32(rest + h, exp4(vsubq_f32(vld1q_f32(rest + h), most)));
  for (int64_t j = i; j < n; ++j) s[j % 8] += rest[j - i];
  const Floats8 all = load8(s);
  return fold8(all.low, all.high);
}

// ---- the machine's limits -----------------------------------------------------------------------------------------

inline uint64_t read_stream(const uint8_t* p, size_t bytes) {
  uint64x2_t sums[4];
  for (uint64x2_t& s : sums) s = vdupq_n_u64(0);
  size_t i = 0;
  for (; i + 64 <= bytes; i += 64)
    for (size_t j = 0; j < 4; ++j) sums[j] = vaddq_u64(sums[j], vreinterpretq_u64_u8(load(p + i + 16 * j)));
  if (i + 32 <= bytes)
    for (size_t j = 0; j < 2; ++j) sums[j] = vaddq_u64(sums[j], vreinterpretq_u64_u8(load(p + i + 16 * j)));
  return vaddvq_u64(vaddq_u64(vaddq_u64(sums[0], sums[1]), vaddq_u64(sums[2], sums[3])));
}

constexpr int kChains = 16;  // hide a latency of 4 at four a cycle
constexpr int kRounds = 4;   // steps unrolled, so that the compiler's register moves are few

// Independent chains of `Multiply`, which adds products of 16 bytes each into a register, kProducts of them.
template <class Multiply, int kProducts>
double multiply_chains(int64_t steps) {
  int32x4_t sums[kChains];
  int8x16_t u = vdupq_n_s8(1);
  for (int j = 0; j < kChains; ++j) sums[j] = vdupq_n_s32(j);  // unlike each other, or they might become one chain
  const int64_t loops = (steps * 64 + kProducts * kChains * kRounds - 1) / (kProducts * kChains * kRounds);
  for (int64_t i = 0; i < loops; ++i) {
    __asm__ volatile("" : "+w"(u));  // keeps the multiplications in the loop
#pragma GCC unroll 64
    for (int j = 0; j < kRounds * kChains; ++j) sums[j % kChains] = Multiply::add(sums[j % kChains], u);
  }
  int32x4_t all = sums[0];
  for (int j = 1; j < kChains; ++j) all = veorq_s32(all, sums[j]);
  __asm__ volatile("" : : "w"(all));
  return static_cast<double>(loops) * kRounds * kChains * kProducts * 2;
}

inline void add_all(Table& table) {
  table.quantize = quantize;
  table.rms_norm = norm<false>;
  table.add_rms_norm = norm<true>;
  table.layer_norm = layer_norm;
  table.gelu_erf = gelu_erf;
  table.gelu_mul = gelu_mul;
  table.sigmoid_mul = sigmoid_mul;
  table.rope = rope;
  table.scale = scale;
  table.softcap = softcap;
  table.sum_exp = sum_exp;
  table.read_stream = read_stream;
}

}  // namespace
}  // namespace gemlet::kernels
