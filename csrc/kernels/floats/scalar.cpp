// Float dot products and conversions between float32 and the 16-bit kinds.
#include "kernels/isa/scalar.h"

namespace gemlet::kernels::scalar {
namespace {

float itself(float f) { return f; }

float brain_to_float(uint16_t half) {
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float f = 0;
  std::memcpy(&f, &bits, 4);
  return f;
}

// One row times one, in the order that every set keeps.
template <class T, float (*kOne)(T)>
float dot(const T* w, const float* x, int64_t k) {
  float s[kFloatPhases] = {};
  for (int64_t i = 0; i < k; ++i) {
    float& sum = s[i % kFloatPhases];
    sum = std::fma(kOne(w[i]), x[i], sum);
  }
  return fold<kFloatPhases>(s);
}

void dot_f32(const float* w, int64_t ldw, int64_t rows, const float* x, int64_t ldx, int64_t count, int64_t k, float* y,
             int64_t ldy) {
  for (int64_t t = 0; t < count; ++t)
    for (int64_t r = 0; r < rows; ++r) y[t * ldy + r] = dot<float, itself>(w + r * ldw, x + t * ldx, k);
}

template <float (*kOne)(uint16_t)>
void widen(const uint16_t* x, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = kOne(x[i]);
}

template <float (*kOne)(uint16_t)>
void matvec_16(const uint16_t* w, int64_t ldw, int64_t rows, const float* x, int64_t k, float* y) {
  for (int64_t r = 0; r < rows; ++r) y[r] = dot<uint16_t, kOne>(w + r * ldw, x, k);
}

// Round to nearest even; overflow to infinity; NaN stays NaN with its top mantissa bits, made quiet.
uint16_t float_to_half(float f) {
  uint32_t bits = 0;
  std::memcpy(&bits, &f, 4);
  const uint32_t sign = (bits >> 16) & 0x8000U, magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<uint16_t>(sign | 0x7E00U | ((magnitude >> 13) & 0x3FFU));
  if (magnitude >= 0x477FF000U) return static_cast<uint16_t>(sign | 0x7C00U);
  if (magnitude < 0x38800000U) {  // subnormal: multiples of 2^-24, rounded by adding and taking away 0.5
    float absolute = 0;
    std::memcpy(&absolute, &magnitude, 4);
    const float rounded = absolute + 0.5F;  // 0.5 has an ulp of 2^-24 above it
    uint32_t rounded_bits = 0;
    std::memcpy(&rounded_bits, &rounded, 4);
    return static_cast<uint16_t>(sign | (rounded_bits - 0x3F000000U));
  }
  const uint32_t rounded = magnitude + 0xFFFU + ((magnitude >> 13) & 1U);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

void narrow_f16(const float* x, int64_t n, uint16_t* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = float_to_half(x[i]);
}

}  // namespace

void add_floats(Table& table) {
  table.dot_f32 = dot_f32;
  table.matvec_f16 = matvec_16<half_to_float>;
  table.matvec_bf16 = matvec_16<brain_to_float>;
  table.widen_f16 = widen<half_to_float>;
  table.widen_bf16 = widen<brain_to_float>;
  table.narrow_f16 = narrow_f16;
}

}  // namespace gemlet::kernels::scalar
