// int8 products with smmla: two rows x two tokens over eight elements at once. One token alone uses sdot, which every such
// CPU has. An smmla does twice the multiply-adds of an sdot.
#pragma once

#include "kernels/isa/sdot.h"

namespace gemlet::kernels {
namespace {

// A panel's block is (4, 8, 2, 8) here: eight elements of two rows side by side, with the offset taken away.
struct PanelDot {
  // Elements 0..15 of rows 4 h .. 4 h + 3; q is where elements 0..7 of all rows begin.
  static void pack(const uint8x16_t* rows, int h, uint8_t* q) {
    for (int pair = 0; pair < 2; ++pair) {
      const uint64x2_t a = vreinterpretq_u64_u8(rows[2 * pair]), b = vreinterpretq_u64_u8(rows[2 * pair + 1]);
      uint8_t* at = q + (2 * h + pair) * 16;
      vst1q_u8(at, vreinterpretq_u8_u64(vzip1q_u64(a, b)));
      vst1q_u8(at + 8 * kPanelRows, vreinterpretq_u8_u64(vzip2q_u64(a, b)));
    }
  }

  // dot[t][h] = products of rows 4 h .. 4 h + 3 and token t over kSteps steps of four elements.
  template <class F, int NT, int kSteps>
  static void sums(const uint8_t* w, const int8_t* const* q, int32x4_t (&dot)[NT][4]) {
    constexpr int kPairs = (NT + 1) / 2;  // of tokens; one alone is its own partner
    int32x4_t two_by_two[kPairs][8];
    for (int p = 0; p < kPairs; ++p)
      for (int r = 0; r < 8; ++r) two_by_two[p][r] = vdupq_n_s32(0);
#pragma GCC unroll 4
    for (int i = 0; i < kSteps / 2; ++i) {
      int8x16_t x[kPairs];
      for (int p = 0; p < kPairs; ++p) {
        const int8_t* other = 2 * p + 1 < NT ? q[2 * p + 1] : q[2 * p];
        x[p] = vcombine_s8(vld1_s8(q[2 * p] + 8 * i), vld1_s8(other + 8 * i));
      }
#pragma GCC unroll 8
      for (int r = 0; r < 8; ++r) {
        const int8x16_t rows = as_signed(load(w + i * 8 * kPanelRows + r * 16));
        for (int p = 0; p < kPairs; ++p) two_by_two[p][r] = vmmlaq_s32(two_by_two[p][r], rows, x[p]);
      }
    }
    for (int t = 0; t < NT; ++t)
      for (int h = 0; h < 4; ++h) {
        const int32x4_t a = two_by_two[t / 2][2 * h], b = two_by_two[t / 2][2 * h + 1];
        dot[t][h] = t % 2 == 0 ? vuzp1q_s32(a, b) : vuzp2q_s32(a, b);
      }
  }
};

}  // namespace
}  // namespace gemlet::kernels
