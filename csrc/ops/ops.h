// Whole-tensor operations: check shapes, split the work, call kernels. T tokens are rows; every function is exact in the
// sense of kernels/api.h: a row's result does not depend on the other rows, the block or the number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "codec/codec.h"
#include "core/parallel.h"
#include "core/profile.h"
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
    Buffer<int32_t> panel_halves;
    Buffer<float> floats;
    Buffer<float> attention;
  };
  std::vector<Scratch> workers;
  Buffer<float> attention;     // shared by the workers: results of tiles that wait to be merged
  Profile* profile = nullptr;  // null: nothing is timed

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
  Buffer<int32_t> sum_;
  Buffer<int16_t> minus32_;
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

using kernels::KvType;

// What attention reads: pages of keys and values. Those of head k of a page begin at k * head_bytes, key j being the
// j % kPageKeys-th of page j / kPageKeys. Pages below the first visible key may be null.
struct KvPages {
  const uint8_t* const* k;
  const uint8_t* const* v;
  KvType type;
  int64_t kv_heads;
  int64_t channels;  // as stored: stored_channels(type, used), the rest zero
  int64_t used;
};

int64_t stored_channels(KvType type, int64_t used);
// Bytes of one head of a page of keys, or of values.
size_t head_bytes(KvType type, int64_t channels);
// Writes row (used) as key, or value, `slot` of a head's part of a page. Q8_0: binary16 scale |x|max / 127 of each 32
// channels, NaN (and bytes of zero) where a value is not finite or too large for it.
void store_key(const kernels::Table& kernels, const KvPages& kv, const float* row, int64_t slot, uint8_t* head);
void store_value(const kernels::Table& kernels, const KvPages& kv, const float* row, int64_t slot, uint8_t* head);
// row (used) <- key `slot` of a head's part of a page.
void load_key(const kernels::Table& kernels, const KvPages& kv, const uint8_t* head, int64_t slot, float* row);

// Queries of one sequence: token t of q (T, H * C) sees keys [begin[t], end[t]), and its result goes to row t of out.
struct Attention {
  Rows<const float> q;
  KvPages kv;
  const int64_t* begin;
  const int64_t* end;
  Rows<float> out;
};

// All sequences as one piece of parallel work. Throws BadArgument on a shape that does not fit.
void attention(Context& on, const std::vector<Attention>& sequences, float scale);

// out[begin .. end) <- softmax of one query head, q (C), over keys [begin, end) of one key/value head. To look at, not to
// compute with: plain float32, a key at a time. In the scratch of one worker, so that several can look at once.
void attention_weights(Context& on, const float* q, const KvPages& kv, int64_t kv_head, int64_t begin, int64_t end,
                       float scale, float* out, int worker = 0);

}  // namespace gemlet::ops
