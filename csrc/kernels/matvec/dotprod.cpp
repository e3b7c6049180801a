// Matrix times vector for dotprod: the 128-bit body with sdot.
#include "kernels/isa/dotprod.h"

#include "kernels/matvec/x128.h"

namespace gemlet::kernels::dotprod {

void add_matvec(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::dotprod
