// Softmax weights and sums; see softmax.h. No lane depends on another, so the register width cannot change a result.
#include "sampling/softmax.h"

#include <algorithm>
#include <cstring>

#include "sampling/fixed_math.h"

namespace gemlet::sampling {

void softmax_weights(const float* x, size_t n, double max, double inverse_temperature, double* out) {
  size_t i = 0;
  for (; i + 2 <= n; i += 2) {
    const Two two = {static_cast<double>(x[i]), static_cast<double>(x[i + 1])};
    const Two weights = fixed_exp((two - max) * inverse_temperature);
    std::memcpy(out + i, &weights, sizeof(weights));
  }
  if (i < n) out[i] = fixed_exp((static_cast<double>(x[i]) - max) * inverse_temperature);
}

double block_sum(const double* weights, size_t n) {
  double a = 0, b = 0, c = 0, d = 0;
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    a += weights[i];
    b += weights[i + 1];
    c += weights[i + 2];
    d += weights[i + 3];
  }
  for (; i < n; ++i) a += weights[i];
  return (a + b) + (c + d);
}

double log_sum_exp(const float* x, size_t n, double max) {
  double block[kWeightBlock];
  double total = 0;
  for (size_t i = 0; i < n; i += kWeightBlock) {
    const size_t size = std::min(kWeightBlock, n - i);
    softmax_weights(x + i, size, max, 1.0, block);
    total += block_sum(block, size);
  }
  return max + fixed_log(total);
}

}  // namespace gemlet::sampling
