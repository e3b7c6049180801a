// Panel kernels for i8mm: the 128-bit body with the set's own products.
#include "kernels/isa/i8mm.h"

#include "kernels/gemm/x128.h"

namespace gemlet::kernels::i8mm {

void add_gemm(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::i8mm
