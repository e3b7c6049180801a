// Matrix times vector over the block layout as it lies in the file, four blocks (one float vector of sums) at a time.
// Reads each weight byte once, in order. `Dot` comes from the including file's set.
#pragma once

namespace gemlet::kernels {
namespace {

constexpr size_t kPrefetch = 1024;  // bytes ahead

inline int32x4_t sum_four(int32x4_t a, int32x4_t b, int32x4_t c, int32x4_t d) {
  return vpaddq_s32(vpaddq_s32(a, b), vpaddq_s32(c, d));
}

// sum - offset * (sum of the activations), exactly; offsets are powers of two.
template <int kOffset>
int32x4_t minus_offset(int32x4_t dot, int32x4_t activations) {
  if constexpr (kOffset == 0) return dot;
  return vmlsq_n_s32(dot, activations, kOffset);
}

template <class F, int J>
int32x4_t block_dot(const uint8_t* g, const int8_t* q) {
  return Dot::template block<F>(F::template u<J>(g), load(q), load(q + 16));
}

// Both halves of block J on their own.
template <class F, int J>
void half_dots(const uint8_t* g, const int8_t* q, int32x4_t& low, int32x4_t& high) {
  const Bytes u = F::template u<J>(g);
  low = Dot::sixteen(u.first, load(q));
  high = Dot::sixteen(u.second, load(q + 16));
}

// Blocks 4 kQuad .. 4 kQuad + 3 of a group added to their partial sums; b is the first of them in x.
template <class F, int kQuad>
[[gnu::always_inline]] inline float32x4_t add_quad(const uint8_t* g, const QuantRows& x, int64_t b, float32x4_t sums) {
  constexpr int J = 4 * kQuad;
  const int8_t* q = x.q + b * kBlock;
  const float32x4_t d = vld1q_f32(x.d + b);
  int32x4_t dot;
  if constexpr (!F::kHasHalves) {
    dot = sum_four(block_dot<F, J>(g, q), block_dot<F, J + 1>(g, q + kBlock), block_dot<F, J + 2>(g, q + 2 * kBlock),
                   block_dot<F, J + 3>(g, q + 3 * kBlock));
    dot = minus_offset<F::kOffset>(dot, vld1q_s32(x.sum + b));
  } else {
    static_assert(F::kOffset == 32);
    int32x4_t low[4], high[4];
    half_dots<F, J>(g, q, low[0], high[0]);
    half_dots<F, J + 1>(g, q + kBlock, low[1], high[1]);
    half_dots<F, J + 2>(g, q + 2 * kBlock, low[2], high[2]);
    half_dots<F, J + 3>(g, q + 3 * kBlock, low[3], high[3]);
    const int32x4_t a = vpaddlq_s16(vld1q_s16(x.minus32 + 4 * b)), c = vpaddlq_s16(vld1q_s16(x.minus32 + 4 * b + 8));
    const int32x4_t first = vaddq_s32(sum_four(low[0], low[1], low[2], low[3]), vuzp1q_s32(a, c));
    const int32x4_t second = vaddq_s32(sum_four(high[0], high[1], high[2], high[3]), vuzp2q_s32(a, c));
    int32x4_t scale[2];
    F::template halves<kQuad>(g, scale);
    dot = vmlaq_s32(vmulq_s32(first, scale[0]), second, scale[1]);
  }
  sums = vfmaq_f32(sums, vcvtq_f32_s32(dot), vmulq_f32(F::template scales<kQuad>(g), d));
  if constexpr (F::kHasMin) sums = vfmsq_f32(sums, F::template mins<kQuad>(g), vld1q_f32(x.dsum + b));
  return sums;
}

// Fewer than four blocks, padded with zero blocks. The lanes past the end add +0, which changes nothing: no partial sum is
// ever -0, as an integer times a scale that is not 0 does not underflow.
template <class F>
float32x4_t add_padded(const uint8_t* g, int64_t blocks, const QuantRows& x, int64_t b, float32x4_t sums) {
  uint8_t padded[F::kGroupBytes / 2] = {};
  std::memcpy(padded, g, static_cast<size_t>(blocks) * (F::kGroupBytes / 8));
  return add_quad<F, 0>(padded, x, b, sums);
}

template <class F>
float row_dot(const uint8_t* g, int64_t blocks, const QuantRows& x) {
  Floats8 sums{vdupq_n_f32(0), vdupq_n_f32(0)};
  int64_t b = 0;
  for (; b + 8 <= blocks; b += 8, g += F::kGroupBytes) {
    for (size_t line = 0; line < F::kGroupBytes; line += 64) __builtin_prefetch(g + kPrefetch + line);
    sums.low = add_quad<F, 0>(g, x, b, sums.low);
    sums.high = add_quad<F, 1>(g, x, b + 4, sums.high);
  }
  if constexpr (F::kLegacy) {  // rows of these formats need not end with a group
    float32x4_t* rest = &sums.low;
    if (b + 4 <= blocks) {
      sums.low = add_quad<F, 0>(g, x, b, sums.low);
      b += 4, g += F::kGroupBytes / 2, rest = &sums.high;
    }
    if (b < blocks) *rest = add_padded<F>(g, blocks - b, x, b, *rest);
  }
  return fold8(sums.low, sums.high);
}

template <class F>
void matvec(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  const QuantRows activations = x;  // a copy of the pointers: y may not alias them
  for (int64_t r = 0; r < rows; ++r) y[r] = row_dot<F>(w + static_cast<size_t>(r) * row_bytes, blocks, activations);
}

template <class F>
void add(Format& format) {
  format.type = F::kType;
  format.has_min = F::kHasMin;
  format.has_halves = F::kHasHalves;
  format.matvec = matvec<F>;
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
