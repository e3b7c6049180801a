// Row operations on 256-bit vectors; each function repeats its scalar twin's operations lane by lane.
#pragma once

namespace gemlet::kernels {
namespace {

// ---- quantise -----------------------------------------------------------------------------------------------------

inline float max_of(__m256 v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_movehdup_ps(m)));
}

inline int32_t sum_of(__m128i v) {
  v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(v, _mm_shuffle_epi32(v, 0xB1)));
}

constexpr float kLargest = 3.4028235e38F;

// Returns the sum of q.
inline int32_t quantize_block(const float* x, int8_t* q, float& d, int16_t* minus32) {
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  __m256 v[4], amax = _mm256_setzero_ps(), bad = _mm256_setzero_ps();
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    const __m256 a = _mm256_and_ps(v[i], magnitude);
    bad = _mm256_or_ps(bad, _mm256_cmp_ps(a, _mm256_set1_ps(kLargest), _CMP_NLE_UQ));  // true for NaN as well
    amax = _mm256_max_ps(amax, a);
  }
  if (_mm256_movemask_ps(bad) != 0) {
    d = __builtin_nanf("");
    std::memset(minus32, 0, 4 * sizeof(int16_t));
    std::memset(q, 0, kBlock);
    return 0;
  }
  const float most = max_of(amax);
  d = most / 127.0F;
  const float exact = 127.0F / most;
  const __m256 inverse = _mm256_set1_ps(most == 0 ? 0.0F : exact < kLargest ? exact : kLargest);
  __m256i i[4];
  for (int j = 0; j < 4; ++j) i[j] = _mm256_cvtps_epi32(_mm256_mul_ps(v[j], inverse));  // nearest even
  const __m256i first = _mm256_add_epi32(i[0], i[1]), second = _mm256_add_epi32(i[2], i[3]);
  const __m128i a = _mm_add_epi32(_mm256_castsi256_si128(first), _mm256_extracti128_si256(first, 1));
  const __m128i b = _mm_add_epi32(_mm256_castsi256_si128(second), _mm256_extracti128_si256(second, 1));
  const __m128i sums = _mm_hadd_epi32(a, b);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(minus32),
                   _mm_packs_epi32(_mm_slli_epi32(_mm_sub_epi32(_mm_setzero_si128(), sums), 5), sums));
  const __m256i packed = _mm256_packs_epi16(_mm256_packs_epi32(i[0], i[1]), _mm256_packs_epi32(i[2], i[3]));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(q), _mm256_permutevar8x32_epi32(packed, order));
  return sum_of(sums);
}

inline void quantize(const float* x, int64_t k, const QuantRows& row) {
  for (int64_t b = 0; b < row.blocks; ++b) {
    const int64_t left = k - b * kBlock;
    if (left >= kBlock) {
      row.sum[b] = quantize_block(x + b * kBlock, row.q + b * kBlock, row.d[b], row.minus32 + 4 * b);
    } else {
      float padded[kBlock] = {};
      if (left > 0) std::memcpy(padded, x + b * kBlock, static_cast<size_t>(left) * sizeof(float));
      row.sum[b] = quantize_block(padded, row.q + b * kBlock, row.d[b], row.minus32 + 4 * b);
    }
    row.dsum[b] = row.d[b] * static_cast<float>(row.sum[b]);
  }
}

// ---- norms --------------------------------------------------------------------------------------------------------

inline float inverse_rms(const float* x, float eps, int64_t n) {
  __m256 sums = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    sums = _mm256_fmadd_ps(v, v, sums);
  }
  float s[8];
  _mm256_storeu_ps(s, sums);
  for (; i < n; ++i) s[i % 8] = __builtin_fmaf(x[i], x[i], s[i % 8]);
  return 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(fold8(_mm256_loadu_ps(s)) / static_cast<float>(n) + eps)));
}

template <bool kAdd>
void norm(const float* x, const float* w, float eps, int64_t n, float* y) {
  const float inverse = inverse_rms(x, eps, n);
  const __m256 factor = _mm256_set1_ps(inverse);
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    __m256 v = _mm256_mul_ps(_mm256_loadu_ps(x + i), factor);
    if (w != nullptr) v = _mm256_mul_ps(v, _mm256_loadu_ps(w + i));
    if (kAdd) v = _mm256_add_ps(_mm256_loadu_ps(y + i), v);
    _mm256_storeu_ps(y + i, v);
  }
  for (; i < n; ++i) {
    const float v = w != nullptr ? x[i] * inverse * w[i] : x[i] * inverse;
    y[i] = kAdd ? y[i] + v : v;
  }
}

inline void layer_norm(const float* x, const float* w, const float* b, float eps, int64_t n, float* y) {
  __m256 sums = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) sums = _mm256_add_ps(sums, _mm256_loadu_ps(x + i));
  float s[8];
  _mm256_storeu_ps(s, sums);
  for (int64_t j = i; j < n; ++j) s[j % 8] += x[j];
  const float mean = fold8(_mm256_loadu_ps(s)) / static_cast<float>(n);
  const __m256 middle = _mm256_set1_ps(mean);
  sums = _mm256_setzero_ps();
  for (i = 0; i + 8 <= n; i += 8) {
    const __m256 d = _mm256_sub_ps(_mm256_loadu_ps(x + i), middle);
    sums = _mm256_fmadd_ps(d, d, sums);
  }
  _mm256_storeu_ps(s, sums);
  for (int64_t j = i; j < n; ++j) s[j % 8] = __builtin_fmaf(x[j] - mean, x[j] - mean, s[j % 8]);
  const float variance = fold8(_mm256_loadu_ps(s)) / static_cast<float>(n) + eps;
  const float inverse = 1.0F / _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(variance)));
  const __m256 factor = _mm256_set1_ps(inverse);
  for (i = 0; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_mul_ps(_mm256_sub_ps(_mm256_loadu_ps(x + i), middle), factor);
    _mm256_storeu_ps(y + i, _mm256_fmadd_ps(v, _mm256_loadu_ps(w + i), _mm256_loadu_ps(b + i)));
  }
  for (; i < n; ++i) y[i] = __builtin_fmaf((x[i] - mean) * inverse, w[i], b[i]);
}

// ---- activations --------------------------------------------------------------------------------------------------

inline __m256 gelu_mul8(__m256 g, __m256 up) {
  const __m256 cube = _mm256_mul_ps(_mm256_mul_ps(g, g), g);
  const __m256 inner = _mm256_fmadd_ps(cube, _mm256_set1_ps(0.044715F), g);
  const __m256 e = exp8(_mm256_mul_ps(inner, _mm256_set1_ps(-1.59576912F)));
  return _mm256_mul_ps(_mm256_div_ps(g, _mm256_add_ps(_mm256_set1_ps(1.0F), e)), up);
}

inline __m256 sigmoid_mul8(__m256 a, __m256 b) {
  const __m256 e = exp8(_mm256_sub_ps(_mm256_setzero_ps(), b));
  const __m256 y = _mm256_div_ps(a, _mm256_add_ps(_mm256_set1_ps(1.0F), e));
  return _mm256_blendv_ps(y, b, _mm256_cmp_ps(b, b, _CMP_UNORD_Q));  // exp8 drops NaN
}

inline __m256 gelu_erf8(__m256 v) {
  const __m256 sign = _mm256_set1_ps(-0.0F), one = _mm256_set1_ps(1.0F);
  const __m256 a = _mm256_mul_ps(_mm256_andnot_ps(sign, v), _mm256_set1_ps(0.707106781F));
  const __m256 t = _mm256_div_ps(one, _mm256_fmadd_ps(a, _mm256_set1_ps(0.3275911F), one));
  __m256 p = _mm256_set1_ps(0.5307027145F);
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.7265760135F));
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.7107068705F));
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(-0.142248368F));
  p = _mm256_fmadd_ps(p, t, _mm256_set1_ps(0.127414796F));
  const __m256 share = _mm256_mul_ps(_mm256_mul_ps(p, t), exp8(_mm256_xor_ps(_mm256_mul_ps(a, a), sign)));
  const __m256 above = _mm256_fnmadd_ps(v, share, v), below = _mm256_mul_ps(v, share);
  return _mm256_blendv_ps(below, above, _mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_GE_OQ));
}

inline void gelu_erf(const float* bias, int64_t n, float* x) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256 v = _mm256_loadu_ps(x + i);
    _mm256_storeu_ps(x + i, gelu_erf8(bias != nullptr ? _mm256_add_ps(v, _mm256_loadu_ps(bias + i)) : v));
  }
  if (i == n) return;
  float v[8] = {};
  for (int64_t j = i; j < n; ++j) v[j - i] = bias != nullptr ? x[j] + bias[j] : x[j];
  _mm256_storeu_ps(v, gelu_erf8(_mm256_loadu_ps(v)));
  std::memcpy(x + i, v, static_cast<size_t>(n - i) * sizeof(float));
}

inline __m256 softcap8(__m256 x, float cap, float inverse) {
  const __m256 v = _mm256_mul_ps(x, _mm256_set1_ps(inverse)), one = _mm256_set1_ps(1.0F);
  const __m256 e = exp8(_mm256_add_ps(v, v));
  const __m256 tanh = _mm256_sub_ps(one, _mm256_div_ps(_mm256_set1_ps(2.0F), _mm256_add_ps(one, e)));
  return _mm256_mul_ps(_mm256_set1_ps(cap), tanh);
}

inline void gelu_mul(const float* gate, const float* up, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, gelu_mul8(_mm256_loadu_ps(gate + i), _mm256_loadu_ps(up + i)));
  if (i == n) return;
  float g[8] = {}, u[8] = {};
  std::memcpy(g, gate + i, static_cast<size_t>(n - i) * sizeof(float));
  std::memcpy(u, up + i, static_cast<size_t>(n - i) * sizeof(float));
  _mm256_storeu_ps(g, gelu_mul8(_mm256_loadu_ps(g), _mm256_loadu_ps(u)));
  std::memcpy(y + i, g, static_cast<size_t>(n - i) * sizeof(float));
}

inline void sigmoid_mul(const float* a, const float* b, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, sigmoid_mul8(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i)));
  if (i == n) return;
  float u[8] = {}, v[8] = {};
  std::memcpy(u, a + i, static_cast<size_t>(n - i) * sizeof(float));
  std::memcpy(v, b + i, static_cast<size_t>(n - i) * sizeof(float));
  _mm256_storeu_ps(u, sigmoid_mul8(_mm256_loadu_ps(u), _mm256_loadu_ps(v)));
  std::memcpy(y + i, u, static_cast<size_t>(n - i) * sizeof(float));
}

inline void softcap(float cap, int64_t n, float* x) {
  const float inverse = 1.0F / cap;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(x + i, softcap8(_mm256_loadu_ps(x + i), cap, inverse));
  if (i == n) return;
  float v[8] = {};
  std::memcpy(v, x + i, static_cast<size_t>(n - i) * sizeof(float));
  _mm256_storeu_ps(v, softcap8(_mm256_loadu_ps(v), cap, inverse));
  std::memcpy(x + i, v, static_cast<size_t>(n - i) * sizeof(float));
}

inline void rope(const float* x, const float* cos, const float* sin, int64_t channels, float* y) {
  const int64_t half = channels / 2;
  int64_t d = 0;
  for (; d + 8 <= half; d += 8) {
    const __m256 a = _mm256_loadu_ps(x + d), b = _mm256_loadu_ps(x + d + half);
    const __m256 c = _mm256_loadu_ps(cos + d), s = _mm256_loadu_ps(sin + d);
    _mm256_storeu_ps(y + d, _mm256_fmsub_ps(a, c, _mm256_mul_ps(b, s)));
    _mm256_storeu_ps(y + d + half, _mm256_fmadd_ps(b, c, _mm256_mul_ps(a, s)));
  }
  for (; d < half; ++d) {
    const float a = x[d], b = x[d + half];
    y[d] = __builtin_fmaf(a, cos[d], -(b * sin[d]));
    y[d + half] = __builtin_fmaf(b, cos[d], a * sin[d]);
  }
}

inline void scale(float factor, int64_t n, float* x) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

inline float sum_exp(const float* x, int64_t n, float max) {
  const __m256 most = _mm256_set1_ps(max);
  __m256 sums = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) sums = _mm256_add_ps(sums, exp8(_mm256_sub_ps(_mm256_loadu_ps(x + i), most)));
  float s[8], rest[8] = {};
  _mm256_storeu_ps(s, sums);
  if (i < n) std::memcpy(rest, x + i, static_cast<size_t>(n - i) * sizeof(float));
  _mm256_storeu_ps(rest, exp8(_mm256_sub_ps(_mm256_loadu_ps(rest), most)));
  for (int64_t j = i; j < n; ++j) s[j % 8] += rest[j - i];
  return fold8(_mm256_loadu_ps(s));
}

// ---- the machine's limits -----------------------------------------------------------------------------------------

inline uint64_t read_stream(const uint8_t* p, size_t bytes) {
  __m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
  for (size_t i = 0; i + 128 <= bytes; i += 128) {
    a = _mm256_add_epi64(a, load(p + i));
    b = _mm256_add_epi64(b, load(p + i + 32));
    c = _mm256_add_epi64(c, load(p + i + 64));
    d = _mm256_add_epi64(d, load(p + i + 96));
  }
  uint64_t sums[4];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums),
                      _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d)));
  return sums[0] + sums[1] + sums[2] + sums[3];
}

inline void add_all(Table& table) {
  table.quantize = quantize;
  table.rms_norm = norm<false>;
  table.add_rms_norm = norm<true>;
  table.layer_norm = layer_norm;
  table.gelu_erf = gelu_erf;
  table.gelu_mul = gelu_mul;
  table.sigmoid_mul = sigmoid_mul;
  table.rope = rope;
  table.scale = scale;
  table.softcap = softcap;
  table.sum_exp = sum_exp;
  table.read_stream = read_stream;
}

}  // namespace
}  // namespace gemlet::kernels
