// One tile of attention in plain loops: scores, their maximum, exponentials, and the weighted sum of the values.
#include "kernels/isa/scalar.h"
#include "kernels/isa/scalar_exp.h"

namespace gemlet::kernels::scalar {
namespace {

// Channel c of key j of the tile.
float element(const void* const* pages, bool half, int64_t channels, int64_t j, int64_t c) {
  const int64_t at = j % kPageKeys * channels + c;
  if (half) return half_to_float(static_cast<const uint16_t*>(pages[j / kPageKeys])[at]);
  return static_cast<const float*>(pages[j / kPageKeys])[at];
}

void attend_row(const AttendTile& tile, int64_t row, int64_t begin, int64_t end) {
  float* scores = tile.scores + row * kTileKeys;
  float max = -INFINITY;
  for (int64_t j = begin; j < end; ++j) {
    float s[kPhases] = {};
    for (int64_t c = 0; c < tile.channels; ++c)
      s[c % kPhases] =
          std::fma(tile.q[row * tile.ldq + c], element(tile.k, tile.half, tile.channels, j, c), s[c % kPhases]);
    scores[j] = fold<kPhases>(s) * tile.scale;
    max = scores[j] > max ? scores[j] : max;
  }
  float sums[kPhases] = {};
  for (int64_t j = begin; j < end; ++j) {
    scores[j] = exp_fixed(scores[j] - max);
    sums[j % kPhases] += scores[j];
  }
  tile.max[row] = max;
  tile.sum[row] = fold<kPhases>(sums);
  for (int64_t c = 0; c < tile.channels; ++c) {
    float out = 0;
    for (int64_t j = begin; j < end; ++j)
      out = std::fma(scores[j], element(tile.v, tile.half, tile.channels, j, c), out);
    tile.out[row * tile.channels + c] = out;
  }
}

void attend(const AttendTile& tile) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    const int64_t begin = tile.begin[row] > tile.first ? tile.begin[row] - tile.first : 0;
    const int64_t end = tile.end[row] - tile.first < tile.count ? tile.end[row] - tile.first : tile.count;
    tile.max[row] = -INFINITY;
    tile.sum[row] = 0;
    if (begin < end) attend_row(tile, row, begin, end);
  }
}

void attend_merge(const AttendTile& tile, float* acc_max, float* acc_sum, float* acc_out, int64_t ld) {
  for (int64_t row = 0; row < tile.rows; ++row) {
    if (tile.sum[row] == 0) continue;  // no key of this tile is visible
    const float max = tile.max[row] > acc_max[row] ? tile.max[row] : acc_max[row];
    const float old_factor = acc_sum[row] == 0 ? 0.0F : exp_fixed(acc_max[row] - max);
    const float new_factor = exp_fixed(tile.max[row] - max);
    acc_max[row] = max;
    acc_sum[row] = std::fma(tile.sum[row], new_factor, acc_sum[row] * old_factor);
    for (int64_t c = 0; c < tile.channels; ++c) {
      float& out = acc_out[row * ld + c];
      out = std::fma(tile.out[row * tile.channels + c], new_factor, out * old_factor);
    }
  }
}

}  // namespace

void add_attend(Table& table) {
  table.attend = attend;
  table.attend_merge = attend_merge;
}

}  // namespace gemlet::kernels::scalar
