// Attention tiles for avx2: the 256-bit body.
#include "kernels/isa/avx2.h"

#include "kernels/attend/x256.h"

namespace gemlet::kernels::avx2 {

void add_attend(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avx2
