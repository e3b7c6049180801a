// int8 products with what every 64-bit ARM has: smull and smlal give int16, which hold several small products before they
// are widened in pairs. Cortex-A72: one 128-bit smlal a cycle at best, so 8 multiply-adds.
#pragma once

#include "kernels/isa/x128.h"

namespace gemlet::kernels {
namespace {

struct Dot {
  // Eight sums of two products.
  static int16x8_t pairs(int8x16_t u, int8x16_t a) {
    return vmlal_high_s8(vmull_s8(vget_low_s8(u), vget_low_s8(a)), u, a);
  }
  static int32x4_t sixteen(uint8x16_t u, int8x16_t a) { return vpaddlq_s16(pairs(as_signed(u), a)); }
  // A block's 32 products as four sums of eight. int16 holds two products of any bytes that come here, but not -128 * -128:
  // activations end at -127. Four products are held where weights are below 64.
  template <class F>
  static int32x4_t block(Bytes u, int8x16_t a, int8x16_t b) {
    const int8x16_t first = as_signed(u.first), second = as_signed(u.second);
    if (F::kType == codec::Type::Q8_0) return vpadalq_s16(vpaddlq_s16(pairs(first, a)), pairs(second, b));
    const int16x8_t sums = vmlal_s8(pairs(first, a), vget_low_s8(second), vget_low_s8(b));
    return vpaddlq_s16(vmlal_high_s8(sums, second, b));
  }
};

// Panels as kernels/api.h describes them, with the offset taken away: four rows x four elements a vector.
struct PanelDot : PanelOfFours {
  // Steps of four elements that 16 bits hold; each lane takes one product a step.
  template <class F>
  static constexpr int run() {
    return 32767 / (F::kSpan * 127) > 8 ? 8 : 32767 / (F::kSpan * 127);
  }

  static int8x16_t broadcast4(const int8_t* q) {
    int32_t four = 0;
    std::memcpy(&four, q, 4);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }

  // dot[t][h] = products of rows 4 h .. 4 h + 3 and token t over kSteps steps.
  template <class F, int NT, int kSteps>
  static void sums(const uint8_t* w, const int8_t* const* q, int32x4_t (&dot)[NT][4]) {
    constexpr int kRun = run<F>() > kSteps ? kSteps : run<F>();
    for (int h = 0; h < 4; ++h) {
      int32x4_t low[NT], high[NT];
      for (int step = 0; step < kSteps; step += kRun) {
        int16x8_t a[NT], b[NT];
#pragma GCC unroll 8
        for (int i = step; i < step + kRun; ++i) {
          const int8x16_t rows = as_signed(load(w + i * kPanelRows * 4 + h * 16));
#pragma GCC unroll 4
          for (int t = 0; t < NT; ++t) {
            const int8x16_t x = broadcast4(q[t] + 4 * i);
            a[t] = i == step ? vmull_s8(vget_low_s8(rows), vget_low_s8(x))
                             : vmlal_s8(a[t], vget_low_s8(rows), vget_low_s8(x));
            b[t] = i == step ? vmull_high_s8(rows, x) : vmlal_high_s8(b[t], rows, x);
          }
        }
        for (int t = 0; t < NT; ++t) {
          low[t] = step == 0 ? vpaddlq_s16(a[t]) : vpadalq_s16(low[t], a[t]);
          high[t] = step == 0 ? vpaddlq_s16(b[t]) : vpadalq_s16(high[t], b[t]);
        }
      }
      for (int t = 0; t < NT; ++t) dot[t][h] = vpaddq_s32(low[t], high[t]);
    }
  }
};

}  // namespace
}  // namespace gemlet::kernels
