// Matrix times vector over the block layout as it lies in the file: the definition that every other set is compared with.
#include "kernels/isa/scalar_dot.h"

namespace gemlet::kernels::scalar {
namespace {

template <class F>
void matvec(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y) {
  for (int64_t r = 0; r < rows; ++r) {
    float s[kPhases] = {};
    for (int64_t b = 0; b < blocks; ++b) {
      Block block;
      F::load(w + static_cast<size_t>(r) * row_bytes, b, block);
      add_block<F>(block, x, 0, b, s);
    }
    y[r] = fold<kPhases>(s);
  }
}

template <class F>
void add(Format& format) {
  format.type = F::kType;
  format.has_min = F::kHasMin;
  format.has_halves = F::kHasHalves;
  format.matvec = matvec<F>;
}

}  // namespace

void add_matvec(Table& table) {
  add<ScalarQ4_0>(table.formats[0]);
  add<ScalarQ5_0>(table.formats[1]);
  add<ScalarQ8_0>(table.formats[2]);
  add<ScalarQ4_K>(table.formats[3]);
  add<ScalarQ5_K>(table.formats[4]);
  add<ScalarQ6_K>(table.formats[5]);
}

}  // namespace gemlet::kernels::scalar
