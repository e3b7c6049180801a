// Attention tiles for avxvnni: the 256-bit body.
#include "kernels/isa/avxvnni.h"

#include "kernels/attend/x256.h"

namespace gemlet::kernels::avxvnni {

void add_attend(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avxvnni
