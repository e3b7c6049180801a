// Attention tiles for dotprod: the 128-bit body.
#include "kernels/isa/dotprod.h"

#include "kernels/attend/x128.h"

namespace gemlet::kernels::dotprod {

void add_attend(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::dotprod
