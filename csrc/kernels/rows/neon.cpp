// Row operations for neon, and its int8 limit: smlal into 16 bits.
#include "kernels/isa/neon.h"

#include "kernels/rows/x128.h"

namespace gemlet::kernels::neon {
namespace {

struct Multiply {
  static int32x4_t add(int32x4_t sum, int8x16_t u) {
    return vreinterpretq_s32_s16(vmlal_s8(vreinterpretq_s16_s32(sum), vget_low_s8(u), vget_high_s8(u)));
  }
};

}  // namespace

void add_rows(Table& table) {
  add_all(table);
  table.int8_stream = multiply_chains<Multiply, 8>;
}

}  // namespace gemlet::kernels::neon
