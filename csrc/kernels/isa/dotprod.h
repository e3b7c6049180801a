// int8 products with sdot: four products straight into each of four 32-bit lanes, one factor also by lane. Panels as the
// neon set lays them out. Cortex-A76 (Raspberry Pi 5): two sdot a cycle, so 32 multiply-adds.
#pragma once

#include "kernels/isa/sdot.h"

namespace gemlet::kernels {
namespace {

struct PanelDot : PanelOfFours {
  template <int NT, int kLane>
  static void step(const uint8_t* w, const int8x16_t (&x)[NT], int32x4_t (&dot)[NT][4]) {
    int8x16_t rows[4];
    for (int h = 0; h < 4; ++h) rows[h] = as_signed(load(w + kLane * kPanelRows * 4 + h * 16));
    for (int t = 0; t < NT; ++t)
      for (int h = 0; h < 4; ++h) dot[t][h] = vdotq_laneq_s32(dot[t][h], rows[h], x[t], kLane);
  }

  // dot[t][h] = products of rows 4 h .. 4 h + 3 and token t over kSteps steps of four elements.
  template <class F, int NT, int kSteps>
  static void sums(const uint8_t* w, const int8_t* const* q, int32x4_t (&dot)[NT][4]) {
    for (int t = 0; t < NT; ++t)
      for (int h = 0; h < 4; ++h) dot[t][h] = vdupq_n_s32(0);
#pragma GCC unroll 2
    for (int i = 0; i < kSteps; i += 4, w += 4 * kPanelRows * 4) {
      int8x16_t x[NT];
      for (int t = 0; t < NT; ++t) x[t] = load(q[t] + 4 * i);
      step<NT, 0>(w, x, dot);
      step<NT, 1>(w, x, dot);
      step<NT, 2>(w, x, dot);
      step<NT, 3>(w, x, dot);
    }
  }
};

}  // namespace
}  // namespace gemlet::kernels
