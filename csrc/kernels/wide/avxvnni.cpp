// Products in 16 bits for avxvnni: the 256-bit body.
#include "kernels/isa/avxvnni.h"

#include "kernels/wide/x256.h"

namespace gemlet::kernels::avxvnni {

void add_wide(Table& table) { add_wide_all(table); }

}  // namespace gemlet::kernels::avxvnni
