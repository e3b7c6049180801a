// Matrix times vector for i8mm: the 128-bit body with sdot (one token has no partner for smmla).
#include "kernels/isa/i8mm.h"

#include "kernels/matvec/x128.h"

namespace gemlet::kernels::i8mm {

void add_matvec(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::i8mm
