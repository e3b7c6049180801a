// Attention in 16 bits over keys that all queries see: a unit of work is one head with 64 queries; tiles of 256 keys are
// folded in order (the online softmax of FlashAttention, Dao et al. 2022). Scores are products with panels of 16 keys,
// results products with panels of 16 channels, so both are the towers' one kernel.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/error.h"
#include "ops/wide.h"

namespace gemlet::ops {
namespace {

using kernels::kPanelRows;
using kernels::kWideBlock;

constexpr int64_t kQueries = 64;        // of a unit
constexpr int64_t kKeys = 256;          // of a tile
constexpr int64_t kApart = kKeys + 16;  // between rows of scores: not all in the same sets of the first cache
constexpr float kLog2E = 1.44269504F, kLn2 = 0.693147181F;
constexpr int64_t kKeyBlocks = kKeys / kWideBlock;

template <class T = float>
T* take(float*& p, int64_t n) {
  T* at = reinterpret_cast<T*>(p);
  p += (n * static_cast<int64_t>(sizeof(T)) + 63) / 64 * 16;
  return at;
}

}  // namespace

// Queries [first, first + rows) of one head.
struct WideKeys::Unit {
  Rows<const float> q;
  Rows<float> out;
  int64_t head, first, rows;
  float scale;
};

// What a thread works with.
struct WideKeys::Worker {
  float *row, *d, *scores, *share_d, *value_scale, *out, *max, *sum, *all, *all_max, *all_sum;
  int16_t *q, *shares;
  static int64_t floats(int64_t channels) {
    return channels + kQueries * (channels + 16 + kApart + kKeys / 2 + 2 * channels + channels + 64) + 4096;
  }
  Worker(float* p, int64_t channels) {
    row = take(p, channels), d = take(p, kQueries * ((channels + kWideBlock - 1) / kWideBlock));
    q = take<int16_t>(p, kQueries * channels), scores = take(p, kQueries * kApart);
    shares = take<int16_t>(p, kQueries * kKeys), share_d = take(p, kQueries * kKeyBlocks);
    value_scale = take(p, kPanelRows);
    out = take(p, kQueries * channels), max = take(p, kQueries), sum = take(p, kQueries);
    all = take(p, kQueries * channels), all_max = take(p, kQueries), all_sum = take(p, kQueries);
  }
};

int64_t WideKeys::tiles() const { return (padded_ + kKeys - 1) / kKeys; }
int16_t* WideKeys::keys_of(int64_t head) const { return k_.data() + head * padded_ * channels_; }
int16_t* WideKeys::values_of(int64_t head) const { return v_.data() + head * tiles() * kKeys * channels_; }

void WideKeys::reserve(int64_t keys, int64_t heads, int64_t channels, float limit) {
  count_ = keys, heads_ = heads, used_ = channels, limit_ = limit;
  padded_ = (keys + kPanelRows - 1) / kPanelRows * kPanelRows;
  channels_ = (channels + kPanelRows - 1) / kPanelRows * kPanelRows;
  k_.reserve(heads * padded_ * channels_), v_.reserve(heads * tiles() * kKeys * channels_);
  k_scale_.reserve(heads * padded_);
  broken_ = false;
  // Keys that are not there: no score can come of them, and nothing is added.
  const bool narrow = channels_ != used_;
  for (int64_t h = 0; h < heads; ++h) {
    const int64_t last = count_ / kPanelRows * kPanelRows;
    std::fill(keys_of(h) + (narrow ? 0 : last * channels_), keys_of(h) + padded_ * channels_, int16_t{0});
    std::fill(k_scale_.data() + h * padded_ + last, k_scale_.data() + (h + 1) * padded_, 0.0F);
    const int64_t tile = (tiles() - 1) * kKeys * channels_;
    std::fill(values_of(h) + (narrow ? 0 : tile), values_of(h) + tiles() * kKeys * channels_, int16_t{0});
  }
}

void WideKeys::store(const kernels::Table& kernels, int64_t at, int64_t head, const float* k, const float* v) {
  constexpr int64_t kMost = 1024;
  if (channels_ > kMost) throw BadArgument(cat("attention: more than ", kMost, " channels a head"));
  float row[kMost];
  int16_t q[kMost];
  std::copy(k, k + used_, row);
  std::fill(row + used_, row + channels_, 0.0F);
  k_scale_.data()[head * padded_ + at] = kernels.quantize16(row, channels_, kernels::kWideWeight, q);
  int16_t* key = keys_of(head) + at / kPanelRows * kPanelRows * channels_ + at % kPanelRows * 2;
  for (int64_t c = 0; c < channels_; c += 2) std::memcpy(key + c * kPanelRows, q + c, 2 * sizeof(int16_t));

  const float unit = static_cast<float>(kernels::kWideValue) / limit_;
  int16_t* value = values_of(head) + at / kKeys * kKeys * channels_ + at % kKeys / 2 * 2 * kPanelRows + at % 2;
  bool good = true;
  for (int64_t c = 0; c < used_; ++c) {
    const float scaled = v[c] * unit;
    const bool fits = std::fabs(scaled) < static_cast<float>(kernels::kWideValue) + 0.5F;
    const auto rounded = static_cast<int16_t>(fits ? scaled + (scaled < 0 ? -0.5F : 0.5F) : 0.0F);
    value[c / kPanelRows * kPanelRows * kKeys + c % kPanelRows * 2] = rounded;
    good = good && fits;
  }
  if (!good) broken_ = true;
}

void WideKeys::run(Context& on, const Unit& u, float* scratch) const {
  const Worker w(scratch, channels_);
  const int64_t blocks = (channels_ + kWideBlock - 1) / kWideBlock;
  std::fill(w.row, w.row + channels_, 0.0F);
  for (int64_t r = 0; r < u.rows; ++r) {
    const float* from = u.q.row(u.first + r) + u.head * used_;
    for (int64_t c = 0; c < used_; ++c) w.row[c] = from[c] * (u.scale * kLog2E);
    for (int64_t b = 0; b < blocks; ++b)
      w.d[r * blocks + b] =
          on.kernels.quantize16(w.row + b * kWideBlock, std::min<int64_t>(kWideBlock, channels_ - b * kWideBlock),
                                kernels::kWideActivation, w.q + r * channels_ + b * kWideBlock);
  }
  std::fill(w.share_d, w.share_d + kQueries * kKeyBlocks, 1.0F);
  const float unit = broken_ ? NAN : limit_ / (float{kernels::kWideValue} * float{kernels::kWideShare});
  std::fill(w.value_scale, w.value_scale + kPanelRows, unit);
  std::fill(w.all_max, w.all_max + u.rows, -INFINITY);
  std::fill(w.all_sum, w.all_sum + u.rows, 0.0F);
  std::fill(w.all, w.all + u.rows * channels_, 0.0F);
  kernels::AttendTile tile{};
  tile.rows = u.rows, tile.channels = channels_, tile.max = w.max, tile.sum = w.sum, tile.out = w.out;
  for (int64_t first = 0; first < padded_; first += kKeys) {
    const int64_t n = std::min(kKeys, padded_ - first), there = std::min(n, count_ - first);
    const kernels::WideRows queries{w.q, w.d, channels_, blocks};
    for (int64_t j = 0; j < n; j += kPanelRows)
      on.kernels.gemm_wide(
          {keys_of(u.head) + (first + j) * channels_, k_scale_.data() + u.head * padded_ + first + j, channels_},
          kPanelRows, queries, u.rows, w.scores + j, kApart);
    for (int64_t r = 0; r < u.rows; ++r) {
      float* scores = w.scores + r * kApart;
      std::fill(scores + there, scores + n, -INFINITY);
      w.sum[r] = on.kernels.weigh(scores, n, w.shares + r * kKeys, w.max + r);
      w.max[r] *= kLn2;  // merging works to base e
    }
    const kernels::WideRows shares{w.shares, w.share_d, kKeys, kKeyBlocks};
    for (int64_t c = 0; c < channels_; c += kPanelRows)
      on.kernels.gemm_wide({values_of(u.head) + first * channels_ + c * kKeys, w.value_scale, n}, kPanelRows, shares,
                           u.rows, w.out + c, channels_);
    on.kernels.attend_merge(tile, w.all_max, w.all_sum, w.all, channels_);
  }
  for (int64_t r = 0; r < u.rows; ++r) {
    float* row = w.all + r * channels_;
    on.kernels.scale(1.0F / w.all_sum[r], used_, row);
    std::copy(row, row + used_, u.out.row(u.first + r) + u.head * used_);
  }
}

void attention(Context& on, Rows<const float> q, const WideKeys& keys, float scale, Rows<float> out) {
  const Profile::Scope scope(on.profile, Operation::Attention);
  if (q.cols != keys.heads_ * keys.used_ || out.cols != q.cols || out.rows != q.rows)
    throw BadArgument(cat("attention: queries (", q.rows, ", ", q.cols, ") do not fit ", keys.heads_, " heads of ",
                          keys.used_, " channels and results (", out.rows, ", ", out.cols, ")"));
  if (on.profile != nullptr) on.profile->count(keys.count_ * q.cols * 4, 4 * q.rows * keys.count_ * q.cols);
  const int64_t units = (q.rows + kQueries - 1) / kQueries;
  on.team.run(units * keys.heads_, [&](int64_t task, int worker) {
    const int64_t first = task % units * kQueries;
    float* scratch =
        on.workers[static_cast<size_t>(worker)].attention.reserve(WideKeys::Worker::floats(keys.channels_));
    keys.run(on, {q, out, task / units, first, std::min(kQueries, q.rows - first), scale}, scratch);
  });
}

}  // namespace gemlet::ops
