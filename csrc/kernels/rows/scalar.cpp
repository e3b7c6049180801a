// Operations on one row: quantise, norm, activation, rotary embedding; and the loops that measure the machine's limits.
#include "kernels/isa/scalar.h"
#include "kernels/isa/scalar_exp.h"

namespace gemlet::kernels::scalar {
namespace {

constexpr float kLargest = 3.4028235e38F;

// d = max|x| / 127, q = round to nearest even of x / d. Returns the sum of q.
int32_t quantize_block(const float* x, int64_t n, int8_t* q, float& d, int16_t* minus32) {
  float amax = 0;
  bool finite = true;
  for (int64_t i = 0; i < n; ++i) {
    const float a = std::fabs(x[i]);
    finite = finite && a <= kLargest;  // false for NaN as well
    amax = a > amax ? a : amax;
  }
  d = finite ? amax / 127.0F : NAN;
  // Where 127 / amax overflows, the largest finite factor: 0 * infinity would be no number.
  const float exact = 127.0F / amax, inverse = !finite || amax == 0 ? 0.0F : exact < kLargest ? exact : kLargest;
  int32_t sums[4] = {}, sum = 0;
  for (int64_t i = 0; i < kBlock; ++i) {
    q[i] = static_cast<int8_t>(i < n && finite ? std::nearbyint(x[i] * inverse) : 0.0F);
    sums[i / 16 * 2 + i % 4 / 2] += q[i];
    sum += q[i];
  }
  for (int i = 0; i < 4; ++i) minus32[i] = static_cast<int16_t>(-32 * sums[i]);
  return sum;
}

void quantize(const float* x, int64_t k, const QuantRows& row) {
  for (int64_t b = 0; b < row.blocks; ++b) {
    const int64_t left = k - b * kBlock, n = left < 0 ? 0 : left < kBlock ? left : kBlock;
    row.sum[b] = quantize_block(x + b * kBlock, n, row.q + b * kBlock, row.d[b], row.minus32 + 4 * b);
    row.dsum[b] = row.d[b] * static_cast<float>(row.sum[b]);
  }
}

float inverse_rms(const float* x, float eps, int64_t n) {
  float s[kPhases] = {};
  for (int64_t i = 0; i < n; ++i) s[i % kPhases] = std::fma(x[i], x[i], s[i % kPhases]);
  return 1.0F / std::sqrt(fold<kPhases>(s) / static_cast<float>(n) + eps);
}

void rms_norm(const float* x, const float* w, float eps, int64_t n, float* y) {
  const float inverse = inverse_rms(x, eps, n);
  for (int64_t i = 0; i < n; ++i) y[i] = w != nullptr ? x[i] * inverse * w[i] : x[i] * inverse;
}

void add_rms_norm(const float* h, const float* w, float eps, int64_t n, float* x) {
  const float inverse = inverse_rms(h, eps, n);
  for (int64_t i = 0; i < n; ++i) x[i] += w != nullptr ? h[i] * inverse * w[i] : h[i] * inverse;
}

void layer_norm(const float* x, const float* w, const float* b, float eps, int64_t n, float* y) {
  float s[kPhases] = {}, squares[kPhases] = {};
  for (int64_t i = 0; i < n; ++i) s[i % kPhases] += x[i];
  const float mean = fold<kPhases>(s) / static_cast<float>(n);
  for (int64_t i = 0; i < n; ++i) squares[i % kPhases] = std::fma(x[i] - mean, x[i] - mean, squares[i % kPhases]);
  const float inverse = 1.0F / std::sqrt(fold<kPhases>(squares) / static_cast<float>(n) + eps);
  for (int64_t i = 0; i < n; ++i) y[i] = std::fma((x[i] - mean) * inverse, w[i], b[i]);
}

// gelu(x) = x (1 - erfc(|x| / sqrt 2) / 2), or for negative x the other share of it; erfc by Abramowitz and Stegun, 7.1.26.
void gelu_erf(const float* bias, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = bias != nullptr ? x[i] + bias[i] : x[i], a = std::fabs(v) * 0.707106781F;
    const float t = 1.0F / std::fma(a, kErfcScale, 1.0F);
    float p = kErfcPoly[0];
    for (int j = 1; j < 5; ++j) p = std::fma(p, t, kErfcPoly[j]);
    const float share = p * t * exp_fixed(-(a * a));
    x[i] = v >= 0 ? std::fma(-v, share, v) : v * share;
  }
}

// gelu_tanh(g) = g / (1 + exp(-2 sqrt(2/pi) (g + 0.044715 g^3)))
void gelu_mul(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float g = gate[i], inner = std::fma(g * g * g, 0.044715F, g);
    y[i] = g / (1.0F + exp_fixed(inner * -1.59576912F)) * up[i];
  }
}

void sigmoid_mul(const float* a, const float* b, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = std::isnan(b[i]) ? b[i] : a[i] / (1.0F + exp_fixed(0.0F - b[i]));
}

void rope(const float* x, const float* cos, const float* sin, int64_t channels, float* y) {
  const int64_t half = channels / 2;
  for (int64_t d = 0; d < half; ++d) {
    const float a = x[d], b = x[d + half];
    y[d] = std::fma(a, cos[d], -(b * sin[d]));
    y[d + half] = std::fma(b, cos[d], a * sin[d]);
  }
}

void scale(float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

// tanh(v) = 1 - 2 / (1 + exp(2 v))
void softcap(float cap, int64_t n, float* x) {
  const float inverse = 1.0F / cap;
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i] * inverse;
    x[i] = cap * (1.0F - 2.0F / (1.0F + exp_fixed(v + v)));
  }
}

float sum_exp(const float* x, int64_t n, float max) {
  float s[kPhases] = {};
  for (int64_t i = 0; i < n; ++i) s[i % kPhases] += exp_fixed(x[i] - max);
  return fold<kPhases>(s);
}

uint64_t read_stream(const uint8_t* p, size_t bytes) {
  uint64_t sums[4] = {};
  for (size_t i = 0; i + 32 <= bytes; i += 32)
    for (size_t j = 0; j < 4; ++j) {
      uint64_t word = 0;
      std::memcpy(&word, p + i + 8 * j, 8);
      sums[j] += word;
    }
  return sums[0] + sums[1] + sums[2] + sums[3];
}

double int8_stream(int64_t steps) {
  int8_t a[64], b[64];
  for (int i = 0; i < 64; ++i) a[i] = static_cast<int8_t>(i), b[i] = static_cast<int8_t>(64 - i);
  int32_t sums[64] = {};
  for (int64_t s = 0; s < steps; ++s) {
    for (int i = 0; i < 64; ++i) sums[i] += a[i] * b[i];
    __asm__ volatile("" : : "r"(sums), "r"(a), "r"(b) : "memory");
  }
  return static_cast<double>(steps) * 64 * 2;
}

}  // namespace

void add_rows(Table& table) {
  table.quantize = quantize;
  table.rms_norm = rms_norm;
  table.add_rms_norm = add_rms_norm;
  table.layer_norm = layer_norm;
  table.gelu_erf = gelu_erf;
  table.gelu_mul = gelu_mul;
  table.sigmoid_mul = sigmoid_mul;
  table.rope = rope;
  table.scale = scale;
  table.softcap = softcap;
  table.sum_exp = sum_exp;
  table.read_stream = read_stream;
  table.int8_stream = int8_stream;
}

}  // namespace gemlet::kernels::scalar
