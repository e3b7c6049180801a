// Attention tiles for neon: the 128-bit body.
#include "kernels/isa/neon.h"

#include "kernels/attend/x128.h"

namespace gemlet::kernels::neon {

void add_attend(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::neon
