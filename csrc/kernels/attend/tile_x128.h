// Scores of one row becoming weights, in 128-bit vectors.
#pragma once

#include "kernels/attend/tile.h"
#include "kernels/isa/x128.h"

namespace gemlet::kernels {
namespace {

inline uint32x4_t inside(int32x4_t at, Span span) {
  return vandq_u32(vcgeq_s32(at, vdupq_n_s32(static_cast<int32_t>(span.begin))),
                   vcltq_s32(at, vdupq_n_s32(static_cast<int32_t>(span.end))));
}

// Where `keep` is set, the rest 0.
inline float32x4_t only(float32x4_t v, uint32x4_t keep) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(v), keep));
}

// Lanes i .. i + 3.
inline int32x4_t lanes_from(int i) {
  const int32_t first[4] = {0, 1, 2, 3};
  return vaddq_s32(vld1q_s32(first), vdupq_n_s32(i));
}

inline void softmax_row(const AttendTile& tile, int64_t r) {
  float* scores = tile.scores + r * kTileKeys;
  const Span span = visible(tile, r);
  tile.max[r] = -__builtin_inff();
  tile.sum[r] = 0;
  if (span.begin == span.end) {
    std::memset(scores, 0, kTileKeys * sizeof(float));
    return;
  }
  const float32x4_t lowest = vdupq_n_f32(-__builtin_inff());
  float32x4_t max = lowest;
  for (int i = 0; i < kTileKeys; i += 4)  // a score that is no number is not the largest
    max = vmaxnmq_f32(max, vbslq_f32(inside(lanes_from(i), span), vld1q_f32(scores + i), lowest));
  tile.max[r] = vmaxnmvq_f32(max);
  const float32x4_t most = vdupq_n_f32(tile.max[r]);
  float32x4_t sums[2] = {vdupq_n_f32(0), vdupq_n_f32(0)};
  for (int i = 0; i < kTileKeys; i += 4) {
    const float32x4_t weight = exp4(vsubq_f32(vld1q_f32(scores + i), most));
    const float32x4_t p = only(weight, inside(lanes_from(i), span));
    vst1q_f32(scores + i, p);
    sums[i / 4 % 2] = vaddq_f32(sums[i / 4 % 2], p);
  }
  tile.sum[r] = fold8(sums[0], sums[1]);
}

}  // namespace
}  // namespace gemlet::kernels
