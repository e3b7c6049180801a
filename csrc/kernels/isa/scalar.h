// Scalar building blocks: one block of each fast format as bytes with scale and minimum, and the fixed-order sums.
// Private to the scalar kernels; everything has internal linkage (see architecture note on inline code and flags).
#pragma once

#include <cmath>
#include <cstring>

#include "kernels/api.h"

namespace gemlet::kernels {
namespace {

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000U) << 16, exponent = (h >> 10) & 0x1FU, mantissa = h & 0x3FFU;
  uint32_t bits = 0;
  if (exponent == 0x1F) {
    bits = sign | 0x7F800000U | (mantissa << 13) | (mantissa ? 0x400000U : 0U);
  } else if (exponent != 0) {
    bits = sign | ((exponent + 112U) << 23) | (mantissa << 13);
  } else {  // zero or subnormal: mantissa * 2^-24, exact
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    std::memcpy(&bits, &magnitude, 4);
    bits |= sign;
  }
  float f = 0;
  std::memcpy(&f, &bits, 4);
  return f;
}

template <int N>
float fold(float* s) {
  for (int n = N / 2; n > 0; n /= 2)
    for (int i = 0; i < n; ++i) s[i] += s[i + n];
  return s[0];
}

// One block of 32 weights: w = scale * (u - offset) - min, times the scale of its half where it has such.
struct Block {
  uint8_t u[kBlock];
  float scale, min;
  int half[2];
};

struct ScalarQ4_0 {
  static constexpr codec::Type kType = codec::Type::Q4_0;
  static constexpr int kOffset = 8;
  static constexpr bool kHasMin = false, kHasHalves = false;
  static void load(const uint8_t* row, int64_t b, Block& out) {
    codec::BlockQ4_0 x;
    std::memcpy(&x, row + static_cast<size_t>(b) * sizeof x, sizeof x);
    for (int i = 0; i < 16; ++i) {
      out.u[i] = x.qs[i] & 15;
      out.u[i + 16] = x.qs[i] >> 4;
    }
    out.scale = half_to_float(x.d);
  }
};

struct ScalarQ5_0 {
  static constexpr codec::Type kType = codec::Type::Q5_0;
  static constexpr int kOffset = 16;
  static constexpr bool kHasMin = false, kHasHalves = false;
  static void load(const uint8_t* row, int64_t b, Block& out) {
    codec::BlockQ5_0 x;
    std::memcpy(&x, row + static_cast<size_t>(b) * sizeof x, sizeof x);
    uint32_t high = 0;
    std::memcpy(&high, x.qh, 4);
    for (int i = 0; i < 16; ++i) {
      out.u[i] = static_cast<uint8_t>((x.qs[i] & 15U) | ((high >> i & 1U) << 4));
      out.u[i + 16] = static_cast<uint8_t>((x.qs[i] >> 4U) | ((high >> (i + 16) & 1U) << 4));
    }
    out.scale = half_to_float(x.d);
  }
};

// The byte is kept signed here; offset 0. (Sets whose multiply wants an unsigned side add 128 in their own panels.)
struct ScalarQ8_0 {
  static constexpr codec::Type kType = codec::Type::Q8_0;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = false, kHasHalves = false;
  static void load(const uint8_t* row, int64_t b, Block& out) {
    codec::BlockQ8_0 x;
    std::memcpy(&x, row + static_cast<size_t>(b) * sizeof x, sizeof x);
    std::memcpy(out.u, x.qs, kBlock);
    out.scale = half_to_float(x.d);
  }
};

// Six-bit scale and minimum j of the eight in a Q4_K or Q5_K block.
inline void scale_min_k4(const uint8_t* s, int64_t j, uint8_t& scale, uint8_t& min) {
  if (j < 4) {
    scale = s[j] & 63;
    min = s[j + 4] & 63;
  } else {
    scale = static_cast<uint8_t>((s[j + 4] & 15) | ((s[j - 4] >> 6) << 4));
    min = static_cast<uint8_t>((s[j + 4] >> 4) | ((s[j] >> 6) << 4));
  }
}

struct ScalarQ4_K {
  static constexpr codec::Type kType = codec::Type::Q4_K;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true, kHasHalves = false;
  static void load(const uint8_t* row, int64_t b, Block& out) {
    codec::BlockQ4_K x;
    std::memcpy(&x, row + static_cast<size_t>(b / 8) * sizeof x, sizeof x);
    const int64_t j = b % 8;
    for (int i = 0; i < kBlock; ++i) out.u[i] = (x.qs[j / 2 * 32 + i] >> (j % 2 * 4)) & 15;
    uint8_t scale = 0, min = 0;
    scale_min_k4(x.scales, j, scale, min);
    out.scale = half_to_float(x.d) * static_cast<float>(scale);
    out.min = half_to_float(x.dmin) * static_cast<float>(min);
  }
};

struct ScalarQ5_K {
  static constexpr codec::Type kType = codec::Type::Q5_K;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true, kHasHalves = false;
  static void load(const uint8_t* row, int64_t b, Block& out) {
    codec::BlockQ5_K x;
    std::memcpy(&x, row + static_cast<size_t>(b / 8) * sizeof x, sizeof x);
    const int64_t j = b % 8;
    for (int i = 0; i < kBlock; ++i)
      out.u[i] = static_cast<uint8_t>(((x.qs[j / 2 * 32 + i] >> (j % 2 * 4)) & 15) | (((x.qh[i] >> j) & 1) << 4));
    uint8_t scale = 0, min = 0;
    scale_min_k4(x.scales, j, scale, min);
    out.scale = half_to_float(x.d) * static_cast<float>(scale);
    out.min = half_to_float(x.dmin) * static_cast<float>(min);
  }
};

struct ScalarQ6_K {
  static constexpr codec::Type kType = codec::Type::Q6_K;
  static constexpr int kOffset = 32;
  static constexpr bool kHasMin = false, kHasHalves = true;
  static void load(const uint8_t* row, int64_t b, Block& out) {
    codec::BlockQ6_K x;
    std::memcpy(&x, row + static_cast<size_t>(b / 8) * sizeof x, sizeof x);
    const int64_t half = b % 8 / 4, j = b % 4;  // 128 elements a half, blocks j in 0..3 of it
    for (int i = 0; i < kBlock; ++i) {
      const int low = x.ql[half * 64 + j % 2 * 32 + i] >> (j / 2 * 4) & 15;
      const int high = x.qh[half * 32 + i] >> (j * 2) & 3;
      out.u[i] = static_cast<uint8_t>(low | (high << 4));
    }
    out.scale = half_to_float(x.d);
    for (int s = 0; s < 2; ++s) out.half[s] = x.scales[b % 8 * 2 + s];
  }
};

}  // namespace
}  // namespace gemlet::kernels
