// Matrix times vector for avx512: the 256-bit body with vpdpbusd. One token is bound by memory, not by these.
#include "kernels/isa/avx512.h"

#include "kernels/matvec/x256.h"

namespace gemlet::kernels::avx512 {

void add_matvec(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avx512
