// Four bits that index a table of sixteen values: IQ4_NL, IQ4_XS, MXFP4, back to float32.
#include <bit>

#include "codec/blocks.h"
#include "codec/families.h"
#include "codec/half.h"

namespace gemlet::codec {
namespace {

constexpr float kNonLinear[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};
// E2M1 values, doubled to be whole; the block's scale is halved in turn. Minus zero decodes as zero.
constexpr float kE2M1[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

void decode_nibbles(float d, const float* table, const uint8_t* qs, float* out) {
  for (int j = 0; j < 16; ++j) {
    out[j] = d * table[qs[j] & 15];
    out[j + 16] = d * table[qs[j] >> 4];
  }
}

// 2^(e - 128); the lowest two exponents are float32 subnormals.
float half_of_e8m0(uint8_t e) {
  const uint32_t bits = e < 2 ? 0x00200000U << e : static_cast<uint32_t>(e - 1) << 23;
  return std::bit_cast<float>(bits);
}

}  // namespace

void decode_iq4_nl(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += 32) {
    const auto b = block_at<BlockIQ4_NL>(blocks, i);
    decode_nibbles(half_to_float(b.d), kNonLinear, b.qs, out);
  }
}

void decode_iq4_xs(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += 256) {
    const auto b = block_at<BlockIQ4_XS>(blocks, i);
    const float d = half_to_float(b.d);
    for (int g = 0; g < 8; ++g) {
      const int low = (b.scales_l[g / 2] >> (4 * (g % 2))) & 15;
      const int high = (b.scales_h >> (2 * g)) & 3;
      const float scale = d * static_cast<float>((low | (high << 4)) - 32);
      decode_nibbles(scale, kNonLinear, b.qs + g * 16, out + g * 32);
    }
  }
}

void decode_mxfp4(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i, out += 32) {
    const auto b = block_at<BlockMXFP4>(blocks, i);
    decode_nibbles(half_of_e8m0(b.e), kE2M1, b.qs, out);
  }
}

}  // namespace gemlet::codec
