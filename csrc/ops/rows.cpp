// Operations that treat each token on its own: embedding, norms, activation, rotary embedding.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "ops/ops.h"

namespace gemlet::ops {
namespace {

// Few rows are not worth waking other threads for.
constexpr int64_t kRowsPerTask = 8;

template <class Work>
void by_row(Context& on, int64_t rows, const Work& work) {
  on.team.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t t = task * kRowsPerTask; t < end; ++t) work(t);
  });
}

}  // namespace

void embed(Context& on, const codec::Matrix& table, const int32_t* ids, float scale, Rows<float> x) {
  const Profile::Scope scope(on.profile, Operation::Embedding);
  if (on.profile != nullptr) on.profile->count(x.rows * static_cast<int64_t>(table.row_bytes), 0);
  by_row(on, x.rows, [&](int64_t t) {
    if (ids[t] < 0 || ids[t] >= table.rows)
      throw BadArgument(cat("embed: id ", ids[t], " is outside the table's ", table.rows, " rows"));
    codec::decode_row(table, ids[t], x.row(t));
    on.kernels.scale(scale, x.cols, x.row(t));
  });
}

void norm(Context& on, Rows<const float> x, const float* w, float eps, Rows<float> y) {
  const Profile::Scope scope(on.profile, Operation::Norm);
  by_row(on, x.rows, [&](int64_t t) { on.kernels.rms_norm(x.row(t), w, eps, x.cols, y.row(t)); });
}

void add_norm(Context& on, Rows<const float> h, const float* w, float eps, Rows<float> x) {
  const Profile::Scope scope(on.profile, Operation::Norm);
  by_row(on, x.rows, [&](int64_t t) { on.kernels.add_rms_norm(h.row(t), w, eps, x.cols, x.row(t)); });
}

void head_norm(Context& on, Rows<float> x, int64_t channels, const float* w, float eps) {
  const Profile::Scope scope(on.profile, Operation::Norm);
  by_row(on, x.rows, [&](int64_t t) {
    for (float* head = x.row(t); head < x.row(t) + x.cols; head += channels)
      on.kernels.rms_norm(head, w, eps, channels, head);
  });
}

void gelu_mul(Context& on, Rows<float> gate, Rows<const float> up) {
  const Profile::Scope scope(on.profile, Operation::Gelu);
  by_row(on, gate.rows, [&](int64_t t) { on.kernels.gelu_mul(gate.row(t), up.row(t), gate.cols, gate.row(t)); });
}

void softcap(Context& on, float cap, Rows<float> x) {
  by_row(on, x.rows, [&](int64_t t) { on.kernels.softcap(cap, x.cols, x.row(t)); });
}

void scale(Context& on, float factor, Rows<float> x) {
  by_row(on, x.rows, [&](int64_t t) { on.kernels.scale(factor, x.cols, x.row(t)); });
}

void copy(Context& on, Rows<const float> x, Rows<float> y) {
  by_row(on, x.rows, [&](int64_t t) { std::copy(x.row(t), x.row(t) + x.cols, y.row(t)); });
}

void add_scaled(Context& on, Rows<const float> a, float factor, float whole, Rows<float> x) {
  by_row(on, x.rows, [&](int64_t t) {
    const float* from = a.row(t);
    float* to = x.row(t);
    for (int64_t i = 0; i < x.cols; ++i) to[i] = (to[i] + from[i] * factor) * whole;
  });
}

void log_softmax_at(Context& on, Rows<const float> x, const int32_t* targets, float* out) {
  constexpr int64_t kPiece = 4096;  // float32 sums of pieces, added in double
  on.team.run(x.rows, [&](int64_t t, int) {
    const float* row = x.row(t);
    const float max = *std::max_element(row, row + x.cols);
    double sum = 0;
    for (int64_t i = 0; i < x.cols; i += kPiece) sum += on.kernels.sum_exp(row + i, std::min(kPiece, x.cols - i), max);
    out[t] = static_cast<float>(static_cast<double>(row[targets[t]]) - static_cast<double>(max) - std::log(sum));
  });
}

void RopeTable::fill(Context& on, const std::vector<float>& frequencies, const int64_t* positions, int64_t count) {
  const Profile::Scope scope(on.profile, Operation::Rope);
  half = static_cast<int64_t>(frequencies.size());
  float* c = cos.reserve(count * half);
  float* s = sin.reserve(count * half);
  by_row(on, count, [&](int64_t t) {
    for (int64_t d = 0; d < half; ++d) {
      const float frequency = frequencies[static_cast<size_t>(d)];
      if (frequency == 0.0F) {  // three quarters of Gemma 4's pairs in full layers
        c[t * half + d] = 1.0F, s[t * half + d] = 0.0F;
        continue;
      }
      const float angle = static_cast<float>(positions[t]) * frequency;
      c[t * half + d] = static_cast<float>(std::cos(static_cast<double>(angle)));
      s[t * half + d] = static_cast<float>(std::sin(static_cast<double>(angle)));
    }
  });
}

void rope(Context& on, const RopeTable& table, Rows<float> x, int64_t channels) {
  const Profile::Scope scope(on.profile, Operation::Rope);
  by_row(on, x.rows, [&](int64_t t) {
    const float *cos = table.cos.data() + t * table.half, *sin = table.sin.data() + t * table.half;
    for (float* head = x.row(t); head < x.row(t) + x.cols; head += channels)
      on.kernels.rope(head, cos, sin, channels, head);
  });
}

}  // namespace gemlet::ops
