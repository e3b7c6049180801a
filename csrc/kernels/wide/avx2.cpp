// Products in 16 bits for avx2: the 256-bit body.
#include "kernels/isa/avx2.h"

#include "kernels/wide/x256.h"

namespace gemlet::kernels::avx2 {

void add_wide(Table& table) { add_wide_all(table); }

}  // namespace gemlet::kernels::avx2
