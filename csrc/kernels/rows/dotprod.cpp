// Row operations for dotprod, and its int8 limit: chains of sdot.
#include "kernels/isa/dotprod.h"

#include "kernels/rows/x128.h"

namespace gemlet::kernels::dotprod {
namespace {

struct Multiply {
  static int32x4_t add(int32x4_t sum, int8x16_t u) { return vdotq_s32(sum, u, u); }
};

}  // namespace

void add_rows(Table& table) {
  add_all(table);
  table.int8_stream = multiply_chains<Multiply, 16>;
}

}  // namespace gemlet::kernels::dotprod
