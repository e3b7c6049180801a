// Super-blocks of 256: Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, back to float32.
// Scales are multiplied out first and each operation is float32, in the order of the `gguf` package.
#include "codec/blocks.h"
#include "codec/families.h"
#include "codec/half.h"

namespace gemlet::codec {
namespace {

constexpr int kBlock = 256;

float number(int q) { return static_cast<float>(q); }

struct ScaleMin {
  int scale, min;
};
// The eight 6-bit pairs of Q4_K and Q5_K: the first four whole in bytes 0..7, whose top bits, with the nibbles of bytes
// 8..11, make the last four.
ScaleMin scale_min(const uint8_t* s, int j) {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 2) & 0x30), (s[j + 4] >> 4) | ((s[j] >> 2) & 0x30)};
}

// The sixteen 6-bit scales of Q3_K: low nibbles in bytes 0..7, two upper bits in bytes 8..11.
int q3_scale(const uint8_t* s, int j) {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  const int high = (s[8 + j % 4] >> (2 * (j / 4))) & 3;
  return (low | (high << 4)) - 32;
}

}  // namespace

void decode_q2_k(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ2_K>(blocks, i);
    const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
    for (int g = 0; g < 16; ++g) {  // 128 elements share 32 bytes, at shifts 0, 2, 4, 6
      const float scale = d * number(b.scales[g] & 15);
      const float min = dmin * number(b.scales[g] >> 4);
      const uint8_t* qs = b.qs + (g / 8) * 32 + (g % 2) * 16;
      const int shift = 2 * ((g % 8) / 2);
      for (int l = 0; l < 16; ++l) out[g * 16 + l] = scale * number((qs[l] >> shift) & 3) - min;
    }
  }
}

void decode_q3_k(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ3_K>(blocks, i);
    const float d = half_to_float(b.d);
    for (int g = 0; g < 16; ++g) {
      const float scale = d * number(q3_scale(b.scales, g));
      const uint8_t* qs = b.qs + (g / 8) * 32 + (g % 2) * 16;
      const uint8_t* hmask = b.hmask + (g % 2) * 16;
      const int shift = 2 * ((g % 8) / 2), bit = g / 2;
      for (int l = 0; l < 16; ++l) {
        const int offset = ((hmask[l] >> bit) & 1) != 0 ? 0 : 4;  // a set bit means no offset
        out[g * 16 + l] = scale * number(((qs[l] >> shift) & 3) - offset);
      }
    }
  }
}

void decode_q4_k(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ4_K>(blocks, i);
    const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
    for (int g = 0; g < 8; ++g) {
      const ScaleMin s = scale_min(b.scales, g);
      const float scale = d * number(s.scale), min = dmin * number(s.min);
      const uint8_t* qs = b.qs + (g / 2) * 32;
      const int shift = 4 * (g % 2);
      for (int l = 0; l < 32; ++l) out[g * 32 + l] = scale * number((qs[l] >> shift) & 15) - min;
    }
  }
}

void decode_q5_k(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ5_K>(blocks, i);
    const float d = half_to_float(b.d), dmin = half_to_float(b.dmin);
    for (int g = 0; g < 8; ++g) {
      const ScaleMin s = scale_min(b.scales, g);
      const float scale = d * number(s.scale), min = dmin * number(s.min);
      const uint8_t* qs = b.qs + (g / 2) * 32;
      const int shift = 4 * (g % 2);
      for (int l = 0; l < 32; ++l) {
        const int q = ((qs[l] >> shift) & 15) | (((b.qh[l] >> g) & 1) << 4);
        out[g * 32 + l] = scale * number(q) - min;
      }
    }
  }
}

void decode_q6_k(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += kBlock) {
    const auto b = block_at<BlockQ6_K>(blocks, i);
    const float d = half_to_float(b.d);
    for (int g = 0; g < 16; ++g) {  // row r of 32: halves of the block, then nibbles, then the two 32-byte pieces
      const int r = g / 2, first = (g % 2) * 16;
      const float scale = d * number(b.scales[g]);
      const uint8_t* ql = b.ql + (r / 4) * 64 + (r % 2) * 32 + first;
      const uint8_t* qh = b.qh + (r / 4) * 32 + first;
      const int low_shift = 4 * ((r % 4) / 2), high_shift = 2 * (r % 4);
      for (int l = 0; l < 16; ++l) {
        const int q = (((ql[l] >> low_shift) & 15) | (((qh[l] >> high_shift) & 3) << 4)) - 32;
        out[g * 16 + l] = scale * number(q);
      }
    }
  }
}

}  // namespace gemlet::codec
