// Panel kernels for avxvnni: the 256-bit body with the set's own products.
#include "kernels/isa/avxvnni.h"

#include "kernels/gemm/x256.h"

namespace gemlet::kernels::avxvnni {

void add_gemm(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avxvnni
