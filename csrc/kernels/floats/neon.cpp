// Float dot products for neon: the 128-bit body.
#include "kernels/isa/neon.h"

#include "kernels/floats/x128.h"

namespace gemlet::kernels::neon {

void add_floats(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::neon
