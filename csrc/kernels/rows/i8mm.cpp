// Row operations for i8mm, and its int8 limit: chains of smmla.
#include "kernels/isa/i8mm.h"

#include "kernels/rows/x128.h"

namespace gemlet::kernels::i8mm {
namespace {

struct Multiply {
  static int32x4_t add(int32x4_t sum, int8x16_t u) { return vmmlaq_s32(sum, u, u); }
};

}  // namespace

void add_rows(Table& table) {
  add_all(table);
  table.int8_stream = multiply_chains<Multiply, 32>;
}

}  // namespace gemlet::kernels::i8mm
