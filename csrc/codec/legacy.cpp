// Blocks of 32 with one scale: Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, both ways.
// Every product and sum is a separate float32 operation in the order of the `gguf` package, so that the bits agree.
#include <cmath>

#include "codec/blocks.h"
#include "codec/families.h"
#include "codec/half.h"

namespace gemlet::codec {
namespace {

constexpr int kBlock = 32;

float number(int q) { return static_cast<float>(q); }

// The fifth bit of element j, in its place.
int fifth_bit(const uint8_t* qh, int j) { return ((qh[j / 8] >> (j % 8)) & 1) << 4; }

// The element of largest size, sign kept: the first of equals, or a NaN if there is one.
float widest(const float* x) {
  float best = x[0];
  for (int j = 0; j < kBlock; ++j) {
    if (std::isnan(x[j])) return x[j];
    if (std::fabs(x[j]) > std::fabs(best)) best = x[j];
  }
  return best;
}

struct Range {
  float low, high;
};
Range range_of(const float* x) {
  Range r{x[0], x[0]};
  for (int j = 0; j < kBlock; ++j) {
    if (std::isnan(x[j])) return {x[j], x[j]};
    if (x[j] < r.low) r.low = x[j];
    if (x[j] > r.high) r.high = x[j];
  }
  return r;
}

float inverse(float d) { return d == 0.0F ? 0.0F : 1.0F / d; }

// Truncation to 0..top. Not a number, or far out of range, only where a scale has overflowed: then 0.
uint8_t level(float v, int top) {
  if (!(v >= 0.0F && v < 256.0F)) return 0;
  const int q = static_cast<int>(v);
  return static_cast<uint8_t>(q < top ? q : top);
}

// To the nearest, halves away from zero: floor(size) + floor(2 * (size - floor(size))), without calls of floor.
int8_t round_away(float v) {
  const float size = std::fabs(v);
  if (!(size < 128.0F)) return 0;
  const int whole = static_cast<int>(size);
  const int rounded = whole + (size - number(whole) >= 0.5F ? 1 : 0);
  if (rounded > 127) return 0;
  return static_cast<int8_t>(v < 0.0F ? -rounded : rounded);
}

void pack_low(const uint8_t* q, uint8_t* qs) {
  for (int j = 0; j < 16; ++j) qs[j] = static_cast<uint8_t>((q[j] & 15) | ((q[j + 16] & 15) << 4));
}

void pack_fifth(const uint8_t* q, uint8_t* qh) {
  for (int j = 0; j < 4; ++j) qh[j] = 0;
  for (int j = 0; j < kBlock; ++j) qh[j / 8] = static_cast<uint8_t>(qh[j / 8] | ((q[j] >> 4) << (j % 8)));
}

}  // namespace

void decode_q4_0(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ4_0>(blocks, i);
    const float d = half_to_float(b.d);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * number((b.qs[j] & 15) - 8);
      out[j + 16] = d * number((b.qs[j] >> 4) - 8);
    }
  }
}

void decode_q4_1(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ4_1>(blocks, i);
    const float d = half_to_float(b.d), m = half_to_float(b.m);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * number(b.qs[j] & 15) + m;
      out[j + 16] = d * number(b.qs[j] >> 4) + m;
    }
  }
}

void decode_q5_0(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ5_0>(blocks, i);
    const float d = half_to_float(b.d);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * number(((b.qs[j] & 15) | fifth_bit(b.qh, j)) - 16);
      out[j + 16] = d * number(((b.qs[j] >> 4) | fifth_bit(b.qh, j + 16)) - 16);
    }
  }
}

void decode_q5_1(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ5_1>(blocks, i);
    const float d = half_to_float(b.d), m = half_to_float(b.m);
    for (int j = 0; j < 16; ++j) {
      out[j] = d * number((b.qs[j] & 15) | fifth_bit(b.qh, j)) + m;
      out[j + 16] = d * number((b.qs[j] >> 4) | fifth_bit(b.qh, j + 16)) + m;
    }
  }
}

void decode_q8_0(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ8_0>(blocks, i);
    const float d = half_to_float(b.d);
    for (int j = 0; j < kBlock; ++j) out[j] = number(b.qs[j]) * d;
  }
}

void encode_q4_0(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i, x += kBlock) {
    const float d = widest(x) / -8.0F, id = inverse(d);
    uint8_t q[kBlock];
    for (int j = 0; j < kBlock; ++j) q[j] = level(x[j] * id + 8.5F, 15);
    BlockQ4_0 b;
    b.d = float_to_half(d);
    pack_low(q, b.qs);
    put_block(b, blocks, i);
  }
}

void encode_q4_1(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i, x += kBlock) {
    const Range r = range_of(x);
    const float d = (r.high - r.low) / 15.0F, id = inverse(d);
    uint8_t q[kBlock];
    for (int j = 0; j < kBlock; ++j) q[j] = level((x[j] - r.low) * id + 0.5F, 15);
    BlockQ4_1 b;
    b.d = float_to_half(d);
    b.m = float_to_half(r.low);
    pack_low(q, b.qs);
    put_block(b, blocks, i);
  }
}

void encode_q5_0(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i, x += kBlock) {
    const float d = widest(x) / -16.0F, id = inverse(d);
    uint8_t q[kBlock];
    for (int j = 0; j < kBlock; ++j) q[j] = level(x[j] * id + 16.5F, 31);
    BlockQ5_0 b;
    b.d = float_to_half(d);
    pack_fifth(q, b.qh);
    pack_low(q, b.qs);
    put_block(b, blocks, i);
  }
}

void encode_q5_1(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i, x += kBlock) {
    const Range r = range_of(x);
    const float d = (r.high - r.low) / 31.0F, id = inverse(d);
    uint8_t q[kBlock];
    for (int j = 0; j < kBlock; ++j) q[j] = level((x[j] - r.low) * id + 0.5F, 31);
    BlockQ5_1 b;
    b.d = float_to_half(d);
    b.m = float_to_half(r.low);
    pack_fifth(q, b.qh);
    pack_low(q, b.qs);
    put_block(b, blocks, i);
  }
}

void encode_q8_0(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i, x += kBlock) {
    const float d = std::fabs(widest(x)) / 127.0F, id = inverse(d);
    BlockQ8_0 b;
    b.d = float_to_half(d);
    for (int j = 0; j < kBlock; ++j) b.qs[j] = round_away(x[j] * id);
    put_block(b, blocks, i);
  }
}

}  // namespace gemlet::codec
