// Matrix times vector for neon: the 128-bit body.
#include "kernels/isa/neon.h"

#include "kernels/matvec/x128.h"

namespace gemlet::kernels::neon {

void add_matvec(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::neon
