// Panels in plain loops: unpack 16 rows, then multiply them with every token.
#include "kernels/isa/scalar_dot.h"

namespace gemlet::kernels::scalar {
namespace {

template <class F>
void unpack(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const Panel& panel) {
  for (int64_t r = 0; r < kPanelRows; ++r) {
    const uint8_t* row = w + static_cast<size_t>(r < rows ? r : rows - 1) * row_bytes;
    for (int64_t b = 0; b < blocks; ++b) {
      Block block;
      F::load(row, b, block);
      for (int i = 0; i < kBlock; ++i) panel.q[((b * 8 + i / 4) * kPanelRows + r) * 4 + i % 4] = block.u[i];
      panel.scale[b * kPanelRows + r] = block.scale;
      for (int h = 0; F::kHasHalves && h < 2; ++h) panel.halves[(b * 2 + h) * kPanelRows + r] = block.half[h];
      if (F::kHasMin) panel.min[b * kPanelRows + r] = block.min;
    }
  }
}

template <class F>
void gemm(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t count, float* y, int64_t ldy) {
  for (int64_t t = 0; t < count; ++t) {
    for (int64_t r = 0; r < rows; ++r) {
      float s[kPhases] = {};
      for (int64_t b = 0; b < blocks; ++b) {
        Block block;
        for (int i = 0; i < kBlock; ++i) block.u[i] = panel.q[((b * 8 + i / 4) * kPanelRows + r) * 4 + i % 4];
        block.scale = panel.scale[b * kPanelRows + r];
        for (int h = 0; F::kHasHalves && h < 2; ++h) block.half[h] = panel.halves[(b * 2 + h) * kPanelRows + r];
        block.min = F::kHasMin ? panel.min[b * kPanelRows + r] : 0;
        add_block<F>(block, x, t, b, s);
      }
      y[t * ldy + r] = fold<kPhases>(s);
    }
  }
}

template <class F>
void add(Format& format) {
  format.unpack = unpack<F>;
  format.gemm = gemm<F>;
}

}  // namespace

void add_gemm(Table& table) {
  add<ScalarQ4_0>(table.formats[0]);
  add<ScalarQ5_0>(table.formats[1]);
  add<ScalarQ8_0>(table.formats[2]);
  add<ScalarQ4_K>(table.formats[3]);
  add<ScalarQ5_K>(table.formats[4]);
  add<ScalarQ6_K>(table.formats[5]);
}

}  // namespace gemlet::kernels::scalar
