// Products in 16 bits: packing, rounding, and panels x chunks of rows as tasks.
#include "ops/wide.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace gemlet::ops {
namespace {

using kernels::kPanelRows;
using kernels::kWideBlock;

constexpr int64_t kWhole = 8;  // panels go in steps of so many values
// What stays in the second-level cache while it is used: panels, and the rows of x that they meet.
constexpr int64_t kPanelsAtOnce = 4, kPanelsBytes = 256 << 10;
constexpr int64_t kRowsAtOnce = 64, kRowsBytes = 128 << 10;

int64_t whole(int64_t n) { return (n + kWhole - 1) / kWhole * kWhole; }

void widen(Context& on, const codec::Matrix& m, int64_t r, float* out) {
  const bool even = reinterpret_cast<uintptr_t>(m.row(r)) % sizeof(uint16_t) == 0;
  if (m.type == codec::Type::BF16 && even)
    on.kernels.widen_bf16(reinterpret_cast<const uint16_t*>(m.row(r)), m.cols, out);
  else if (m.type == codec::Type::F16 && even)
    on.kernels.widen_f16(reinterpret_cast<const uint16_t*>(m.row(r)), m.cols, out);
  else
    codec::decode_row(m, r, out);
}

}  // namespace

bool is_wide(const Context& on, codec::Type type) { return !on.float_compute && type != codec::Type::F32; }

kernels::WidePanel WideMatrix::panel(int64_t i) const {
  return {q_.data() + i * kPanelRows * k_, scale_.data() + i * kPanelRows, k_};
}

void WideMatrix::pack(Context& on, const codec::Matrix& from) {
  const int64_t panels = (from.rows + kPanelRows - 1) / kPanelRows;
  rows_ = from.rows, cols_ = from.cols, k_ = whole(from.cols);
  int16_t* q = q_.reserve(panels * kPanelRows * k_);
  float* scale = scale_.reserve(panels * kPanelRows);
  on.team.run(panels, [&](int64_t p, int worker) {
    // A row of floats, then 16 rows of integers: pairs of them are what a panel puts side by side. They lie a line more than
    // K apart, or all 16 would fall into a few sets of the first cache.
    const int64_t apart = k_ + 32;
    float* row = on.workers[static_cast<size_t>(worker)].floats.reserve(k_ + kPanelRows * apart / 2);
    auto* integers = reinterpret_cast<int16_t*>(row + k_);
    for (int64_t r = 0; r < kPanelRows; ++r) {
      const int64_t at = std::min(p * kPanelRows + r, from.rows - 1);
      widen(on, from, at, row);
      std::fill(row + from.cols, row + k_, 0.0F);
      scale[p * kPanelRows + r] = on.kernels.quantize16(row, k_, kernels::kWideWeight, integers + r * apart);
    }
    int16_t* out = q + p * kPanelRows * k_;
    for (int64_t i = 0; i < k_; i += 2)
      for (int64_t r = 0; r < kPanelRows; ++r, out += 2)
        std::memcpy(out, integers + r * apart + i, 2 * sizeof(int16_t));
  });
}

kernels::WideRows WideInput::fill(Context& on, Rows<const float> x) {
  const Profile::Scope scope(on.profile, Operation::Quantise);
  // Rows lie a line more than K apart: with K a power of two, those of a tile would share the sets of a cache.
  const int64_t k = whole(x.cols), ld = k + 32, blocks = (k + kWideBlock - 1) / kWideBlock;
  int16_t* q = q_.reserve(x.rows * ld);
  float* d = d_.reserve(x.rows * blocks);
  on.team.run(x.rows, [&](int64_t t, int) {
    for (int64_t b = 0; b < blocks; ++b) {
      const int64_t first = b * kWideBlock, n = std::min<int64_t>(kWideBlock, k - first);
      const float* from = x.row(t) + first;
      float last[kWideBlock] = {};
      if (first + n > x.cols) {
        std::copy(from, x.row(t) + x.cols, last);
        from = last;
      }
      d[t * blocks + b] = on.kernels.quantize16(from, n, kernels::kWideActivation, q + t * ld + first);
    }
  });
  return {q, d, ld, blocks};
}

void linear(Context& on, Rows<const float> x, const std::vector<WideProduct>& products, WideInput& scratch) {
  struct Plan {
    const WideProduct* product;
    int64_t first_task;
  };
  std::vector<Plan> plans;
  const int64_t row_bytes = whole(x.cols) * static_cast<int64_t>(sizeof(int16_t));
  const int64_t chunk = std::clamp<int64_t>(kRowsBytes / row_bytes / 8 * 8, 16, kRowsAtOnce);
  const int64_t chunks = (x.rows + chunk - 1) / chunk;
  const int64_t step = std::clamp<int64_t>(kPanelsBytes / (row_bytes * kPanelRows), 1, kPanelsAtOnce) * kPanelRows;
  int64_t tasks = 0;
  for (const WideProduct& p : products) {
    if (p.w->cols() != x.cols || p.y.cols != p.w->rows() || p.y.rows != x.rows)
      throw BadArgument(cat("linear: weight (", p.w->rows(), ", ", p.w->cols(), ") does not fit input (", x.rows, ", ",
                            x.cols, ") and output (", p.y.rows, ", ", p.y.cols, ")"));
    plans.push_back({&p, tasks});
    tasks += (p.w->rows() + step - 1) / step * chunks;
    if (on.profile != nullptr) on.profile->count(p.w->rows() * p.w->cols() * 2, 2 * p.w->rows() * p.w->cols() * x.rows);
  }
  if (x.rows == 0 || tasks == 0) return;
  const kernels::WideRows all = scratch.fill(on, x);
  on.team.run(tasks, [&](int64_t task, int) {
    size_t i = plans.size() - 1;
    while (task < plans[i].first_task) --i;
    const WideProduct& p = *plans[i].product;
    const int64_t at = task - plans[i].first_task, t = at % chunks * chunk, n = std::min(chunk, x.rows - t);
    const kernels::WideRows part{all.q + t * all.ld, all.d + t * all.blocks, all.ld, all.blocks};
    const int64_t first = at / chunks * step, end = std::min(p.w->rows(), first + step);
    for (int64_t r = first; r < end; r += kPanelRows)
      on.kernels.gemm_wide(p.w->panel(r / kPanelRows), std::min<int64_t>(kPanelRows, end - r), part, n, p.y.row(t) + r,
                           p.y.stride);
  });
}

}  // namespace gemlet::ops
