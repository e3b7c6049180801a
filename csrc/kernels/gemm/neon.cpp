// Panel kernels for neon: the 128-bit body with the set's own products.
#include "kernels/isa/neon.h"

#include "kernels/gemm/x128.h"

namespace gemlet::kernels::neon {

void add_gemm(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::neon
