// Float dot products for i8mm: the 128-bit body.
#include "kernels/isa/i8mm.h"

#include "kernels/floats/x128.h"

namespace gemlet::kernels::i8mm {

void add_floats(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::i8mm
