// binary16 and bfloat16 <-> float32 by their bits, round to nearest even. Baseline code only: kernels have instructions
// for this and must not include it.
#pragma once

#include <bit>
#include <cstdint>

namespace gemlet::codec {

inline float half_to_float(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000U) << 16;
  const uint32_t exponent = h & 0x7c00U;
  const uint32_t mantissa = h & 0x03ffU;
  if (exponent == 0x7c00U) return std::bit_cast<float>(sign | 0x7f800000U | (mantissa << 13));  // inf, NaN
  if (exponent != 0) return std::bit_cast<float>(sign | (((h & 0x7fffU) << 13) + (112U << 23)));
  const float subnormal = static_cast<float>(mantissa) * 0x1p-24F;  // exact: every half subnormal is a normal float
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

inline uint16_t float_to_half(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  const uint32_t sign = (bits >> 16) & 0x8000U;
  uint32_t size = bits & 0x7fffffffU;
  uint32_t half;
  if (size > 0x7f800000U) {  // NaN keeps the top of its payload, and must not become infinity when that is zero
    const uint32_t payload = (size >> 13) & 0x03ffU;
    half = 0x7c00U | (payload == 0 ? 1U : payload);
  } else if (size >= 0x47800000U) {  // 2^16 and above
    half = 0x7c00U;
  } else if (size >=
             0x38800000U) {  // normal halves; a carry out of the mantissa rounds into the exponent, up to infinity
    size += 0x0fffU + ((size >> 13) & 1U);
    half = (size - (112U << 23)) >> 13;
  } else {  // 0.5 has an ulp of 2^-24, the step of half subnormals: the addition does the rounding
    half = std::bit_cast<uint32_t>(std::bit_cast<float>(size) + 0.5F) - std::bit_cast<uint32_t>(0.5F);
  }
  return static_cast<uint16_t>(sign | half);
}

inline float bfloat_to_float(uint16_t b) { return std::bit_cast<float>(static_cast<uint32_t>(b) << 16); }

inline uint16_t float_to_bfloat(float x) {
  const uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return static_cast<uint16_t>((bits >> 16) | 0x40U);  // NaN, made quiet
  return static_cast<uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace gemlet::codec
