// Whole-tensor operations: check shapes, split the work, call kernels. T tokens are rows; every function is exact in the
// sense of kernels/api.h: a row's result does not depend on the other rows, the block or the number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/codec.h"
#include "core/parallel.h"
#include "core/tensor.h"
#include "kernels/api.h"

namespace gemlet::ops {

// What an operation runs on. One per engine; not shared between threads.
struct Context {
  const kernels::Table& kernels;
  const Team& team;
  bool float_compute = false;  // activations stay float32 in every product

  // Scratch, by worker.
  struct Scratch {
    Buffer<uint8_t> panel_bytes;
    Buffer<float> floats;
    Buffer<float> attention;
  };
  std::vector<Scratch> workers;

  Context(const kernels::Table& table, const Team& threads, bool floats)
      : kernels(table), team(threads), float_compute(floats), workers(static_cast<size_t>(threads.threads())) {}
  size_t bytes() const;
};

// Rows quantised once and used by every product that reads them.
class Quantised {
 public:
  kernels::QuantRows fill(Context& on, Rows<const float> x);
  size_t bytes() const;

 private:
  Buffer<int8_t> q_;
  Buffer<float> d_, dsum_;
  Buffer<int32_t> sum_, sum16_;
};

// y (n, rows of w) = rows [first, first + n) of x (T, cols of w) . w^T
struct Product {
  const codec::Matrix* w;
  Rows<float> y;
  int64_t first = 0;
};

// Several products of rows of the same x, as one piece of parallel work. Throws BadArgument on a shape that does not fit.
void linear(Context& on, Rows<const float> x, const std::vector<Product>& products, Quantised& scratch);

// y (ids) = x (1, cols of w) . w[ids]^T: these rows only, ascending, with the bits that linear() gives them.
void linear_rows(Context& on, Rows<const float> x, const codec::Matrix& w, const std::vector<int32_t>& ids, float* y,
                 Quantised& scratch);

// x (T, D) = rows ids of the table, times scale.
void embed(Context& on, const codec::Matrix& table, const int32_t* ids, float scale, Rows<float> x);

// y = rms_norm(x) * w, by row; w null means no weight.
void norm(Context& on, Rows<const float> x, const float* w, float eps, Rows<float> y);
// x += rms_norm(h) * w
void add_norm(Context& on, Rows<const float> h, const float* w, float eps, Rows<float> x);
// The same over each head of C channels: x (T, heads * C) in place.
void head_norm(Context& on, Rows<float> x, int64_t channels, const float* w, float eps);
// gate = gelu_tanh(gate) * up
void gelu_mul(Context& on, Rows<float> gate, Rows<const float> up);
void softcap(Context& on, float cap, Rows<float> x);
void scale(Context& on, float factor, Rows<float> x);
void copy(Context& on, Rows<const float> x, Rows<float> y);
// x = (x + a * factor) * whole
void add_scaled(Context& on, Rows<const float> a, float factor, float whole, Rows<float> x);

// out[t] = log softmax(x row t)[targets[t]]
void log_softmax_at(Context& on, Rows<const float> x, const int32_t* targets, float* out);

// cos and sin of position * frequency, (T, C / 2) each.
struct RopeTable {
  Buffer<float> cos, sin;
  int64_t half = 0;
  // Angles are float32 products, as the reference computes them.
  void fill(Context& on, const std::vector<float>& frequencies, const int64_t* positions, int64_t count);
};
// In place on every head of x (T, heads * C).
void rope(Context& on, const RopeTable& table, Rows<float> x, int64_t channels);

// What attention reads: pages of keys and values. Key j of head k lies in page j / kPageKeys, at ((k * kPageKeys) + j %
// kPageKeys) * C. Pages below the first visible key may be null.
struct KvPages {
  const uint8_t* const* k;
  const uint8_t* const* v;
  bool half;  // binary16, else float32
  int64_t kv_heads;
  int64_t channels;  // as stored: `used` rounded up to a multiple of 8, the rest zero
  int64_t used;
};

// out (T, H * C): token t sees keys [begin[t], end[t]).
void attention(Context& on, Rows<const float> q, const KvPages& kv, const int64_t* begin, const int64_t* end,
               float scale, Rows<float> out);

}  // namespace gemlet::ops
