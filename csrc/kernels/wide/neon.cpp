// Products in 16 bits for neon: the 128-bit body.
#include "kernels/isa/neon.h"

#include "kernels/wide/x128.h"

namespace gemlet::kernels::neon {

void add_wide(Table& table) { add_wide_all(table); }

}  // namespace gemlet::kernels::neon
