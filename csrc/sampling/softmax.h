// exp((x - max) / temperature) and its sums over a vocabulary, in one fixed order. Knows no options and no random state.
#pragma once

#include <cstddef>

namespace gemlet::sampling {

inline constexpr size_t kWeightBlock = 256;  // sums are made block by block, then over the blocks in index order

// out[i] = exp((x[i] - max) * inverse_temperature), 0 for -inf and NaN; max is the largest of x and finite.
void softmax_weights(const float* x, size_t n, double max, double inverse_temperature, double* out);

// The sum of one block, in four interleaved lanes.
double block_sum(const double* weights, size_t n);

// ln of the sum of exp(x[i]).
double log_sum_exp(const float* x, size_t n, double max);

}  // namespace gemlet::sampling
