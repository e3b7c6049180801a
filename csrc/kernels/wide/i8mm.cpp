// Products in 16 bits for i8mm: the 128-bit body.
#include "kernels/isa/i8mm.h"

#include "kernels/wide/x128.h"

namespace gemlet::kernels::i8mm {

void add_wide(Table& table) { add_wide_all(table); }

}  // namespace gemlet::kernels::i8mm
