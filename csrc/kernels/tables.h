// Who fills which part of a table: one function for each cell of the operation x instruction-set grid.
#pragma once

#include "kernels/api.h"

namespace gemlet::kernels {

#define GEMLET_KERNEL_SET(isa)   \
  namespace isa {                \
  void add_matvec(Table& table); \
  void add_gemm(Table& table);   \
  void add_attend(Table& table); \
  void add_rows(Table& table);   \
  void add_floats(Table& table); \
  void add_wide(Table& table);   \
  }

GEMLET_KERNEL_SET(scalar)
#ifdef GEMLET_X86
GEMLET_KERNEL_SET(avx2)
GEMLET_KERNEL_SET(avxvnni)
GEMLET_KERNEL_SET(avx512)
#ifdef GEMLET_EMULATED_SETS
GEMLET_KERNEL_SET(avxvnni_emulated)
GEMLET_KERNEL_SET(avx512_emulated)
#endif
#endif
#ifdef GEMLET_AARCH64
GEMLET_KERNEL_SET(neon)
GEMLET_KERNEL_SET(dotprod)
GEMLET_KERNEL_SET(i8mm)
#endif
#undef GEMLET_KERNEL_SET

}  // namespace gemlet::kernels
