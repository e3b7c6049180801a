// Types without blocks: F32, F16, BF16.
#include "codec/families.h"
#include "codec/half.h"

namespace gemlet::codec {

void decode_f32(const uint8_t* blocks, int64_t count, float* out) {
  if (count > 0) std::memcpy(out, blocks, static_cast<size_t>(count) * sizeof(float));
}

void decode_f16(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = half_to_float(block_at<uint16_t>(blocks, i));
}

void decode_bf16(const uint8_t* blocks, int64_t count, float* out) {
  for (int64_t i = 0; i < count; ++i) out[i] = bfloat_to_float(block_at<uint16_t>(blocks, i));
}

void encode_f32(const float* x, int64_t count, uint8_t* blocks) {
  if (count > 0) std::memcpy(blocks, x, static_cast<size_t>(count) * sizeof(float));
}

void encode_f16(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i) put_block(float_to_half(x[i]), blocks, i);
}

void encode_bf16(const float* x, int64_t count, uint8_t* blocks) {
  for (int64_t i = 0; i < count; ++i) put_block(float_to_bfloat(x[i]), blocks, i);
}

}  // namespace gemlet::codec
