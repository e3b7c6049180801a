// Matrix times vector for avxvnni: the 256-bit body.
#include "kernels/isa/avxvnni.h"

#include "kernels/matvec/x256.h"

namespace gemlet::kernels::avxvnni {

void add_matvec(Table& table) { add_all(table); }

}  // namespace gemlet::kernels::avxvnni
