// Panel kernels for dotprod: the 128-bit body with the set's own products.
#include "kernels/isa/dotprod.h"

#include "kernels/gemm/x128.h"

namespace gemlet::kernels::dotprod {

void add_gemm(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::dotprod
