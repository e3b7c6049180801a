// Matrix times vector for avx2: the 256-bit body.
#include "kernels/isa/avx2.h"

#include "kernels/matvec/x256.h"

namespace gemlet::kernels::avx2 {

void add_matvec(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avx2
