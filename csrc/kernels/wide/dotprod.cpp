// Products in 16 bits for dotprod: the 128-bit body.
#include "kernels/isa/dotprod.h"

#include "kernels/wide/x128.h"

namespace gemlet::kernels::dotprod {

void add_wide(Table& table) { add_wide_all(table); }

}  // namespace gemlet::kernels::dotprod
