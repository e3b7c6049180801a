// The scalar quantised dot product of one block, shared by the matrix-vector and the panel kernel.
#pragma once

#include "kernels/isa/scalar.h"

namespace gemlet::kernels {
namespace {

// Adds block b of a weight row against row t of x to the partial sums s (kPhases).
template <class F>
void add_block(const Block& w, const QuantRows& x, int64_t t, int64_t b, float* s) {
  const int8_t* q = x.q + (t * x.blocks + b) * kBlock;
  const float d = x.d[t * x.blocks + b];
  float& sum = s[b % kPhases];
  int32_t dot = 0;
  for (int i = 0; i < kBlock; ++i) {
    const int weight = F::kType == codec::Type::Q8_0 ? static_cast<int8_t>(w.u[i]) : w.u[i];
    const int product = (weight - F::kOffset) * q[i];
    dot += F::kHasHalves ? w.half[i / (kBlock / 2)] * product : product;
  }
  sum = std::fma(static_cast<float>(dot), w.scale * d, sum);
  if (F::kHasMin) sum = std::fma(-w.min, x.dsum[t * x.blocks + b], sum);
}

}  // namespace
}  // namespace gemlet::kernels
