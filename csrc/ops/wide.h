// Products and attention in 16 bits, for the towers that see and hear: many rows meet each weight, so weights are packed
// anew for them, and what 8 bits would lose stays. Twice as fast as floats where integers of 16 bits are multiplied in pairs.
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "codec/codec.h"
#include "ops/ops.h"

namespace gemlet::ops {

// Whether products with weights of this type are made in 16 bits: float32 weights stay as they are.
bool is_wide(const Context& on, codec::Type type);

// A matrix packed into panels of 16 rows, each row with its own scale. Memory is kept for the next.
class WideMatrix {
 public:
  void pack(Context& on, const codec::Matrix& from);
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  kernels::WidePanel panel(int64_t i) const;

 private:
  Buffer<int16_t> q_;
  Buffer<float> scale_;
  int64_t rows_ = 0, cols_ = 0, k_ = 0;
};

// Rows in 16 bits, made once for all products that read them.
class WideInput {
 public:
  kernels::WideRows fill(Context& on, Rows<const float> x);

 private:
  Buffer<int16_t> q_;
  Buffer<float> d_;
};

// y (T, rows of w) = x (T, cols of w) . w^T
struct WideProduct {
  const WideMatrix* w;
  Rows<float> y;
};
// As one piece of parallel work. Throws BadArgument on a shape that does not fit.
void linear(Context& on, Rows<const float> x, const std::vector<WideProduct>& products, WideInput& scratch);

// Keys and values that every query sees, in 16 bits. Values are at most `limit`, which is what their rounding refers to.
class WideKeys {
 public:
  void reserve(int64_t keys, int64_t heads, int64_t channels, float limit);
  // k, v (C) as key `at` of a head. Different keys may be stored at once.
  void store(const kernels::Table& kernels, int64_t at, int64_t head, const float* k, const float* v);

 private:
  friend void attention(Context& on, Rows<const float> q, const WideKeys& keys, float scale, Rows<float> out);
  struct Worker;
  struct Unit;
  void run(Context& on, const Unit& unit, float* scratch) const;
  int64_t tiles() const;
  int16_t* keys_of(int64_t head) const;
  int16_t* values_of(int64_t head) const;

  Buffer<int16_t> k_, v_;
  Buffer<float> k_scale_;
  int64_t count_ = 0, padded_ = 0, heads_ = 0, channels_ = 0, used_ = 0;
  float limit_ = 1;
  std::atomic<bool> broken_{false};  // a value is not finite
};

// out (T, H * C) = softmax(scale q k^T) v by head, over all keys.
void attention(Context& on, Rows<const float> q, const WideKeys& keys, float scale, Rows<float> out);

}  // namespace gemlet::ops
