// The machine's two limits, as baselines for every speed we quote: memory read bandwidth and int8 multiply-adds.
#pragma once

#include "core/parallel.h"
#include "kernels/api.h"

namespace gemlet::ops {

struct Limits {
  double read_gb_s = 0;       // 10^9 bytes a second, all threads streaming: the best of a few runs
  double read_mean_gb_s = 0;  // their mean: what a shared machine gives over a longer time
  double int8_gops = 0;       // 10^9 operations a second, a multiply-add counting two
};

// About 0.1 s; holds 256 MiB while it runs. Throws std::bad_alloc.
Limits measure_limits(const kernels::Table& kernels, const Team& team);

}  // namespace gemlet::ops
