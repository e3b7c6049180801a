// Float dot products for avxvnni: the 256-bit body.
#include "kernels/isa/avxvnni.h"

#include "kernels/floats/x256.h"

namespace gemlet::kernels::avxvnni {

void add_floats(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avxvnni
