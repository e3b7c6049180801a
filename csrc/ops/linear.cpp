// Products with weights in any format. Few tokens: the block layout is streamed as it is. More: 16 rows at a time are
// unpacked into a panel that stays in cache and is used for all tokens; the weights are never copied as a whole.
// Formats without a fast path, and float compute, decode a few rows to float32 instead; 16-bit floats are streamed too.
#include <algorithm>

#include "core/error.h"
#include "kernels/dispatch.h"
#include "ops/ops.h"

namespace gemlet::ops {
namespace {

constexpr int64_t kRowStep = kernels::kPanelRows;
constexpr int64_t kTasksPerThread = 16;
// Several panels share a few tokens before the next come: tokens are read from the second-level cache, and each row of
// the output is written in longer pieces.
constexpr int64_t kPanelsBytes = 128 << 10, kPanelsAtOnce = 4, kTokensAtOnce = 64;
// One token: each task is a stream from memory that starts cold, so most of a weight goes in one long stream a thread; the
// rest is cut small, so that the last piece does not keep the other threads waiting.
constexpr int64_t kLongPart = 3, kParts = 4;  // three quarters in long streams
constexpr int64_t kShortStreamsPerThread = 6;
constexpr int64_t kStreamBytes = 1 << 20;

// So few tokens that products with the weights as they lie cost less than unpacking them. A piece of rows comes from
// memory for the first token and from the second-level cache for the others.
constexpr int64_t kFewTokens = 4;
constexpr int64_t kFewBytes = 64 << 10;

int64_t padded_blocks(int64_t cols) {
  constexpr int64_t kPad = int64_t{kernels::kBlock} * kernels::kPadBlocks;
  return (cols + kPad - 1) / kPad * kernels::kPadBlocks;
}

// One product with the kernels of its weight; format null: the float path.
struct Plan {
  const Product* product;
  const kernels::Format* format;
};

// Rows [first, first + count) of a plan's weight.
struct Task {
  const Plan* plan;
  int64_t first, count;
};

// Rows [first, end) of a plan in tasks of `steps` steps.
void cut(const Plan& plan, int64_t first, int64_t end, int64_t steps, std::vector<Task>& tasks) {
  const int64_t rows = std::max<int64_t>(1, steps) * kRowStep;
  for (; first < end; first += rows) tasks.push_back({&plan, first, std::min(rows, end - first)});
}

int64_t steps(const codec::Matrix& w) { return (w.rows + kRowStep - 1) / kRowStep; }

// Steps of a weight that go in long streams, a whole number a thread.
int64_t long_steps(const codec::Matrix& w, int threads) { return steps(w) * kLongPart / kParts / threads * threads; }

// The tasks of all products: long streams first.
std::vector<Task> share_out(const std::vector<Plan>& plans, int threads) {
  std::vector<Task> tasks;
  int64_t rest = 0;
  for (const Plan& plan : plans) {
    const codec::Matrix& w = *plan.product->w;
    if (plan.product->y.rows != 1) {
      cut(plan, 0, w.rows, steps(w) / (threads * kTasksPerThread), tasks);
      continue;
    }
    const int64_t most = kStreamBytes / (static_cast<int64_t>(w.row_bytes) * kRowStep), many = long_steps(w, threads);
    cut(plan, 0, many * kRowStep, std::min(most, many / threads), tasks);
    rest += steps(w) - many;
  }
  for (const Plan& plan : plans)
    if (const codec::Matrix& w = *plan.product->w; plan.product->y.rows == 1)
      cut(plan, long_steps(w, threads) * kRowStep, w.rows, rest / (threads * kShortStreamsPerThread), tasks);
  return tasks;
}

void check(const Product& p, Rows<const float> x) {
  if (p.w->cols != x.cols || p.y.cols != p.w->rows || p.first < 0 || p.first + p.y.rows > x.rows)
    throw BadArgument(cat("linear: weight (", p.w->rows, ", ", p.w->cols, ") does not fit input (", x.rows, ", ",
                          x.cols, ") from row ", p.first, " on and output (", p.y.rows, ", ", p.y.cols, ")"));
}

// Whether values of this width may be read through a pointer of their own type: in safetensors data begins anywhere.
bool aligned(const codec::Matrix& w, size_t width) { return reinterpret_cast<uintptr_t>(w.data) % width == 0; }

// y[t * ldy + i] = row r + i of w times x row t, for i in [0, n).
void run_float(Context& on, const codec::Matrix& w, Rows<const float> x, int64_t r, int64_t n, float* y, int64_t ldy,
               int worker) {
  if (w.type == codec::Type::F32 && aligned(w, sizeof(float))) {
    on.kernels.dot_f32(reinterpret_cast<const float*>(w.row(r)), static_cast<int64_t>(w.row_bytes / sizeof(float)), n,
                       x.data, x.stride, x.rows, w.cols, y, ldy);
    return;
  }
  const bool even = aligned(w, sizeof(uint16_t));
  if (even && x.rows == 1 && (w.type == codec::Type::F16 || w.type == codec::Type::BF16)) {
    const auto matvec = w.type == codec::Type::F16 ? on.kernels.matvec_f16 : on.kernels.matvec_bf16;
    matvec(reinterpret_cast<const uint16_t*>(w.row(r)), static_cast<int64_t>(w.row_bytes / sizeof(uint16_t)), n, x.data,
           w.cols, y);
    return;
  }
  float* rows = on.workers[static_cast<size_t>(worker)].floats.reserve(kRowStep * w.cols);
  for (int64_t done = 0; done < n; done += kRowStep) {
    const int64_t count = std::min(kRowStep, n - done);
    for (int64_t i = 0; i < count; ++i) {
      const uint8_t* bytes = w.row(r + done + i);
      float* out = rows + i * w.cols;
      if (w.type == codec::Type::F16 && even)
        on.kernels.widen_f16(reinterpret_cast<const uint16_t*>(bytes), w.cols, out);
      else if (w.type == codec::Type::BF16 && even)
        on.kernels.widen_bf16(reinterpret_cast<const uint16_t*>(bytes), w.cols, out);
      else
        codec::decode_row(w, r + done + i, out);
    }
    on.kernels.dot_f32(rows, w.cols, count, x.data, x.stride, x.rows, w.cols, y + done, ldy);
  }
}

// Each weight is read once, however many rows it meets.
void count(Profile* profile, const codec::Matrix& w, int64_t rows_of_w, int64_t rows_of_x) {
  if (profile != nullptr && rows_of_x > 0)
    profile->count(rows_of_w * static_cast<int64_t>(w.row_bytes), 2 * rows_of_w * w.cols * rows_of_x);
}

// Rows from `first` on.
kernels::QuantRows from_row(const kernels::QuantRows& q, int64_t first) {
  const int64_t b = first * q.blocks;
  return {q.q + b * kernels::kBlock, q.d + b, q.sum + b, q.minus32 + b * 4, q.dsum + b, q.blocks};
}

// Panels of `step` rows side by side, as many as leave the second-level cache room for the tokens that share them.
int64_t panels_at_once(int64_t room) {
  return std::clamp<int64_t>(kPanelsBytes / (room * kernels::kBlock * kernels::kPanelRows), 1, kPanelsAtOnce);
}

void run_panels(Context& on, const Plan& plan, const kernels::QuantRows& q, int64_t tokens, int64_t r, int64_t n,
                int worker) {
  const codec::Matrix& w = *plan.product->w;
  const Rows<float>& y = plan.product->y;
  const int64_t blocks = w.cols / kernels::kBlock, room = padded_blocks(w.cols), most = panels_at_once(room);
  const kernels::Format& f = *plan.format;
  Context::Scratch& scratch = on.workers[static_cast<size_t>(worker)];
  const int64_t bytes = room * kernels::kBlock * kernels::kPanelRows, scales = room * kernels::kPanelRows;
  const int64_t floats = f.has_min ? 2 * scales : scales;
  uint8_t* const panel_bytes = scratch.panel_bytes.reserve(bytes * most);
  float* const panel_floats = scratch.floats.reserve(floats * most);
  int32_t* const panel_halves = f.has_halves ? scratch.panel_halves.reserve(2 * scales * most) : nullptr;
  const auto panel = [&](int64_t i) {
    float* scale = panel_floats + i * floats;
    return kernels::Panel{panel_bytes + i * bytes, scale, scale + scales,
                          f.has_halves ? panel_halves + i * 2 * scales : nullptr};
  };
  for (int64_t done = 0; done < n; done += kRowStep * most) {
    const auto rows = [&](int64_t i) { return std::min(kRowStep, n - done - i * kRowStep); };
    const int64_t count = std::min(most, (n - done + kRowStep - 1) / kRowStep);
    for (int64_t i = 0; i < count; ++i)
      f.unpack(w.row(r + done + i * kRowStep), w.row_bytes, rows(i), blocks, panel(i));
    const int64_t chunk = count > 1 ? kTokensAtOnce : tokens;
    for (int64_t t = 0; t < tokens; t += chunk)
      for (int64_t i = 0; i < count; ++i)
        f.gemm(panel(i), rows(i), blocks, from_row(q, t), std::min(chunk, tokens - t),
               y.row(t) + r + done + i * kRowStep, y.stride);
  }
}

void run_few(const Plan& plan, const kernels::QuantRows& q, int64_t tokens, int64_t r, int64_t n) {
  const codec::Matrix& w = *plan.product->w;
  const int64_t fit = kFewBytes / (static_cast<int64_t>(w.row_bytes) * kRowStep);
  const int64_t piece = tokens == 1 ? n : std::max<int64_t>(1, fit) * kRowStep;
  for (int64_t done = 0; done < n; done += piece)
    for (int64_t t = 0; t < tokens; ++t)
      plan.format->matvec(w.row(r + done), w.row_bytes, std::min(piece, n - done), w.cols / kernels::kBlock,
                          from_row(q, t), plan.product->y.row(t) + r + done);
}

}  // namespace

size_t Context::bytes() const {
  size_t total = attention.bytes();
  for (const Scratch& s : workers)
    total += s.panel_bytes.bytes() + s.panel_halves.bytes() + s.floats.bytes() + s.attention.bytes();
  return total;
}

size_t Quantised::bytes() const { return q_.bytes() + d_.bytes() + dsum_.bytes() + sum_.bytes() + minus32_.bytes(); }

kernels::QuantRows Quantised::fill(Context& on, Rows<const float> x) {
  const Profile::Scope scope(on.profile, Operation::Quantise);
  kernels::QuantRows all{};
  const int64_t blocks = padded_blocks(x.cols), n = x.rows * blocks;
  all.q = q_.reserve(n * kernels::kBlock);
  all.d = d_.reserve(n);
  all.dsum = dsum_.reserve(n);
  all.sum = sum_.reserve(n);
  all.minus32 = minus32_.reserve(n * 4);
  all.blocks = blocks;
  on.team.run(x.rows, [&](int64_t t, int) {
    const kernels::QuantRows row{all.q + t * blocks * kernels::kBlock, all.d + t * blocks,    all.sum + t * blocks,
                                 all.minus32 + t * blocks * 4,         all.dsum + t * blocks, blocks};
    on.kernels.quantize(x.row(t), x.cols, row);
  });
  return all;
}

void run(Context& on, const Task& task, Rows<const float> x, const kernels::QuantRows& q, int worker) {
  const Product& p = *task.plan->product;
  if (task.plan->format == nullptr)
    run_float(on, *p.w, {x.row(p.first), p.y.rows, x.cols, x.stride}, task.first, task.count, p.y.data + task.first,
              p.y.stride, worker);
  else if (p.y.rows <= kFewTokens)
    run_few(*task.plan, from_row(q, p.first), p.y.rows, task.first, task.count);
  else
    run_panels(on, *task.plan, from_row(q, p.first), p.y.rows, task.first, task.count, worker);
}

void linear(Context& on, Rows<const float> x, const std::vector<Product>& products, Quantised& scratch) {
  if (x.rows == 0) return;
  std::vector<Plan> plans;
  bool quantised = false;
  for (const Product& product : products) {
    check(product, x);
    count(on.profile, *product.w, product.w->rows, product.y.rows);
    plans.push_back({&product, on.float_compute ? nullptr : kernels::find(on.kernels, product.w->type)});
    quantised = quantised || plans.back().format != nullptr;
  }
  const std::vector<Task> tasks = share_out(plans, on.team.threads());
  const kernels::QuantRows q = quantised ? scratch.fill(on, x) : kernels::QuantRows{};
  on.team.run(static_cast<int64_t>(tasks.size()),
              [&](int64_t i, int worker) { run(on, tasks[static_cast<size_t>(i)], x, q, worker); });
}

void linear_rows(Context& on, Rows<const float> x, const codec::Matrix& w, const std::vector<int32_t>& ids, float* y,
                 Quantised& scratch) {
  if (x.rows != 1 || x.cols != w.cols)
    throw BadArgument(cat("linear_rows: expected one row of ", w.cols, " values, got (", x.rows, ", ", x.cols, ")"));
  if (ids.empty()) return;
  if (ids.front() < 0 || ids.back() >= w.rows)
    throw BadArgument(cat("linear_rows: rows ", ids.front(), " to ", ids.back(), " are not inside 0 to ", w.rows - 1));
  const kernels::Format* format = on.float_compute ? nullptr : kernels::find(on.kernels, w.type);
  const kernels::QuantRows q = format != nullptr ? scratch.fill(on, x) : kernels::QuantRows{};
  const auto total = static_cast<int64_t>(ids.size());
  count(on.profile, w, total, 1);
  const int64_t per_task = std::max(kRowStep, total / (on.team.threads() * kTasksPerThread));
  on.team.run((total + per_task - 1) / per_task, [&](int64_t task, int worker) {
    const int64_t end = std::min(total, (task + 1) * per_task);
    for (int64_t i = task * per_task, n = 1; i < end; i += n, n = 1) {  // neighbours go together
      const int64_t r = ids[static_cast<size_t>(i)];
      while (i + n < end && ids[static_cast<size_t>(i + n)] == r + n) ++n;
      if (format == nullptr)
        run_float(on, w, x, r, n, y + i, n, worker);
      else
        format->matvec(w.row(r), w.row_bytes, n, w.cols / kernels::kBlock, q, y + i);
    }
  });
}

}  // namespace gemlet::ops
