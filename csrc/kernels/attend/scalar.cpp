// One tile of attention in plain loops: scores, their maximum, exponentials, and the weighted sum of the values. Over bytes
// the products are integers: queries and weights are rounded to int16, and blocks of 32 products are summed exactly.
#include "kernels/isa/scalar.h"
#include "kernels/attend/byte_page.h"
#include "kernels/isa/scalar_exp.h"

namespace gemlet::kernels::scalar {
namespace {

// Channel c of key j of the tile.
float element(const void* const* pages, bool half, int64_t channels, int64_t j, int64_t c) {
  const int64_t at = j % kPageKeys * channels + c;
  if (half) return half_to_float(static_cast<const uint16_t*>(pages[j / kPageKeys])[at]);
  return static_cast<const float*>(pages[j / kPageKeys])[at];
}

float float_score(const AttendTile& tile, int64_t row, int64_t j) {
  const bool half = tile.type == KvType::F16;
  float s[kPhases] = {};
  for (int64_t c = 0; c < tile.channels; ++c)
    s[c % kPhases] = std::fma(tile.q[row * tile.ldq + c], element(tile.k, half, tile.channels, j, c), s[c % kPhases]);
  return fold<kPhases>(s) * tile.scale;
}

float scale_at(const uint8_t* page, int64_t at) {
  uint16_t h = 0;
  std::memcpy(&h, page + at, 2);
  return half_to_float(h);
}

float byte_score(const AttendTile& tile, int64_t row, int64_t j) {
  const auto* page = static_cast<const uint8_t*>(tile.k[j / kPageKeys]);
  const int64_t blocks = tile.channels / kBlock;
  float s = 0;
  for (int64_t b = 0; b < blocks; ++b) {
    const BytePlace place = key_place(j % kPageKeys, b, blocks);
    int32_t dot = 0;
    for (int64_t c = 0; c < kBlock; ++c)
      dot += tile.q16[row * tile.channels + b * kBlock + c] * static_cast<int8_t>(page[place.of(c)]);
    s = std::fma(static_cast<float>(dot), scale_at(page, place.scale), s);
  }
  return s * (tile.q_scale[row] * tile.scale);
}

void float_values(const AttendTile& tile, int64_t row, int64_t begin, int64_t end) {
  const bool half = tile.type == KvType::F16;
  for (int64_t c = 0; c < tile.channels; ++c) {
    float out = 0;
    for (int64_t j = begin; j < end; ++j)
      out = std::fma(tile.scores[row * kTileKeys + j], element(tile.v, half, tile.channels, j, c), out);
    tile.out[row * tile.channels + c] = out;
  }
}

// out (32) += the weights of keys [begin, end), all in one page, times one block of their values. Weights count relative to
// the largest of the page, scales relative to the largest of the block; their product becomes a 15-bit integer.
void add_block(const uint8_t* page, const float* weights, int64_t block, int64_t begin, int64_t end, float* out) {
  float most = 0, most_scale = 0;
  for (int64_t j = begin; j < end; ++j) {
    most = weights[j] > most ? weights[j] : most;
    const float scale = scale_at(page, value_place(j, block).scale);
    most_scale = scale <= most_scale || std::isnan(most_scale) ? most_scale : scale;  // NaN stays
  }
  if (most < kLeastWeight) most = 0;
  const float of_weight = most > 0 ? 1.0F / most : 0, of_scale = most_scale == 0 ? 0 : 32767.0F / most_scale;
  const float factor = most * (most_scale * (1.0F / 32767.0F));
  int32_t sums[kBlock] = {};
  for (int64_t j = begin; j < end && !std::isnan(most_scale); ++j) {
    const BytePlace place = value_place(j, block);
    const float product = weights[j] * of_weight * (scale_at(page, place.scale) * of_scale);
    for (int64_t c = 0; c < kBlock; ++c)
      sums[c] += static_cast<int32_t>(std::nearbyint(product)) * static_cast<int8_t>(page[place.of(c)]);
  }
  for (int64_t c = 0; c < kBlock; ++c) out[c] = std::fma(static_cast<float>(sums[c]), factor, out[c]);
}

void byte_values(const AttendTile& tile, int64_t row, int64_t begin, int64_t end) {
  float* out = tile.out + row * tile.channels;
  std::memset(out, 0, static_cast<size_t>(tile.channels) * sizeof(float));
  for (int64_t first = begin / kPageKeys * kPageKeys; first < end; first += kPageKeys)
    for (int64_t b = 0; b < tile.channels / kBlock; ++b)
      add_block(static_cast<const uint8_t*>(tile.v[first / kPageKeys]), tile.scores + row * kTileKeys + first, b,
                begin > first ? begin - first : 0, end - first < kPageKeys ? end - first : kPageKeys, out + b * kBlock);
}

void attend_row(const AttendTile& tile, int64_t row, int64_t begin, int64_t end) {
  const bool bytes = tile.type == KvType::Q8_0;
  float* scores = tile.scores + row * kTileKeys;
  float max = -INFINITY;
  for (int64_t j = begin; j < end; ++j) {
    scores[j] = bytes ? byte_score(tile, row, j) : float_score(tile, row, j);
    max = scores[j] > max ? scores[j] : max;
  }
  float sums[kPhases] = {};
  for (int64_t j = begin; j < end; ++j) {
    scores[j] = exp_fixed(scores[j] - max);
    sums[j % kPhases] += scores[j];
  }
  tile.max[row] = max;
  tile.sum[row] = fold<kPhases>(sums);
  (bytes ? byte_values : float_values)(tile, row, begin, end);
}

float quantize16(const float* x, int64_t n, int32_t most_level, int16_t* q) {
  const auto levels = static_cast<float>(most_level);
  float most = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    finite = finite && std::isfinite(x[i]);
    most = std::fabs(x[i]) > most ? std::fabs(x[i]) : most;
  }
  const bool some = finite && most >= kLeastWeight;
  const float to_integer = some ? levels / most : 0;
  for (int64_t i = 0; i < n; ++i) q[i] = some ? static_cast<int16_t>(std::nearbyint(x[i] * to_integer)) : int16_t{0};
  return finite ? some ? most / levels : 0.0F : NAN;
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
  table.quantize16 = quantize16;
  table.attend = attend;
  table.attend_merge = attend_merge;
}

}  // namespace gemlet::kernels::scalar
