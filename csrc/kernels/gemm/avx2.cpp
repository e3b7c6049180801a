// Panel kernels for avx2: the 256-bit body with the set's own products.
#include "kernels/isa/avx2.h"

#include "kernels/gemm/x256.h"

namespace gemlet::kernels::avx2 {

void add_gemm(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avx2
