// Float dot products for dotprod: the 128-bit body.
#include "kernels/isa/dotprod.h"

#include "kernels/floats/x128.h"

namespace gemlet::kernels::dotprod {

void add_floats(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::dotprod
