// Float dot products in tiles of 2 rows x 3 tokens, 16 partial sums each (two vectors), and 16-bit conversions.
#pragma once

namespace gemlet::kernels {
namespace {

// The kinds of weights: eight of them, and one.
struct F32 {
  using Type = float;
  static __m256 eight(const float* p) { return _mm256_loadu_ps(p); }
  static float one(float f) { return f; }
};
struct F16 {
  using Type = uint16_t;
  static __m256 eight(const uint16_t* p) { return _mm256_cvtph_ps(load16(p)); }
  static float one(uint16_t half) { return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(half))); }
};
struct BF16 {
  using Type = uint16_t;
  static __m256 eight(const uint16_t* p) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load16(p)), 16));
  }
  static float one(uint16_t half) {
    return _mm_cvtss_f32(_mm_castsi128_ps(_mm_cvtsi32_si128(static_cast<int>(uint32_t{half} << 16))));
  }
};

// With kAhead, rows are one stream: the lines of the NR rows that come next are asked for.
template <class W, int NR, int NT, bool kAhead = false>
void dot_tile(const typename W::Type* w, int64_t ldw, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy) {
  __m256 s[NR][NT][2];
  for (int r = 0; r < NR; ++r)
    for (int t = 0; t < NT; ++t) s[r][t][0] = s[r][t][1] = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    if (kAhead && i % 32 == 0)
      for (int r = 0; r < NR; ++r) _mm_prefetch(reinterpret_cast<const char*>(w + (NR + r) * ldw + i), _MM_HINT_T0);
#pragma GCC unroll 2
    for (int h = 0; h < 2; ++h) {
      __m256 weights[NR];
      for (int r = 0; r < NR; ++r) weights[r] = W::eight(w + r * ldw + i + 8 * h);
#pragma GCC unroll 4
      for (int t = 0; t < NT; ++t) {
        const __m256 v = _mm256_loadu_ps(x + t * ldx + i + 8 * h);
#pragma GCC unroll 4
        for (int r = 0; r < NR; ++r) s[r][t][h] = _mm256_fmadd_ps(weights[r], v, s[r][t][h]);
      }
    }
  }
  for (int r = 0; r < NR; ++r) {
    for (int t = 0; t < NT; ++t) {
      float part[16];
      _mm256_storeu_ps(part, s[r][t][0]);
      _mm256_storeu_ps(part + 8, s[r][t][1]);
      for (int64_t j = i; j < k; ++j)
        part[j % 16] = __builtin_fmaf(W::one(w[r * ldw + j]), x[t * ldx + j], part[j % 16]);
      y[t * ldy + r] = fold8(_mm256_add_ps(_mm256_loadu_ps(part), _mm256_loadu_ps(part + 8)));
    }
  }
}

template <int NR>
void dot_rows(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t count, int64_t k, float* y,
              int64_t ldy) {
  int64_t t = 0;
  for (; t + 3 <= count; t += 3) dot_tile<F32, NR, 3>(w, ldw, x + t * ldx, ldx, k, y + t * ldy, ldy);
  for (; t < count; ++t) dot_tile<F32, NR, 1>(w, ldw, x + t * ldx, ldx, k, y + t * ldy, ldy);
}

inline void dot_f32(const float* w, int64_t ldw, int64_t rows, const float* x, int64_t ldx, int64_t count, int64_t k,
                    float* y, int64_t ldy) {
  int64_t r = 0;
  for (; r + 2 <= rows; r += 2) dot_rows<2>(w + r * ldw, ldw, x, ldx, count, k, y + r, ldy);
  for (; r < rows; ++r) dot_rows<1>(w + r * ldw, ldw, x, ldx, count, k, y + r, ldy);
}

template <class W>
void matvec_16(const uint16_t* w, int64_t ldw, int64_t rows, const float* x, int64_t k, float* y) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_tile<W, 4, 1, true>(w + r * ldw, ldw, x, 0, k, y + r, 0);
  for (; r < rows; ++r) dot_tile<W, 1, 1>(w + r * ldw, ldw, x, 0, k, y + r, 0);
}

template <class W>
void widen_row(const uint16_t* x, int64_t n, float* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) _mm256_storeu_ps(y + i, W::eight(x + i));
  for (; i < n; ++i) y[i] = W::one(x[i]);
}

inline void narrow_f16(const float* x, int64_t n, uint16_t* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), _mm256_cvtps_ph(_mm256_loadu_ps(x + i), 0));
  for (; i < n; ++i) y[i] = static_cast<uint16_t>(_mm_extract_epi16(_mm_cvtps_ph(_mm_set_ss(x[i]), 0), 0));
}

inline void add_all(Table& table) {
  table.dot_f32 = dot_f32;
  table.matvec_f16 = matvec_16<F16>;
  table.matvec_bf16 = matvec_16<BF16>;
  table.widen_f16 = widen_row<F16>;
  table.widen_bf16 = widen_row<BF16>;
  table.narrow_f16 = narrow_f16;
}

}  // namespace
}  // namespace gemlet::kernels
