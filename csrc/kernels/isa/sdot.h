// The products of one block with sdot, for the dotprod and the i8mm kernels.
#pragma once

#include "kernels/isa/x128.h"

namespace gemlet::kernels {
namespace {

struct Dot {
  static int32x4_t sixteen(uint8x16_t u, int8x16_t a) { return vdotq_s32(vdupq_n_s32(0), as_signed(u), a); }
  // A block's 32 products as four sums of eight.
  template <class F>
  static int32x4_t block(Bytes u, int8x16_t a, int8x16_t b) {
    return vdotq_s32(sixteen(u.first, a), as_signed(u.second), b);
  }
};

}  // namespace
}  // namespace gemlet::kernels
