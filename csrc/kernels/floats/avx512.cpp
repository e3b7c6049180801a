// Float dot products for avx512 in tiles of 4 rows x 4 tokens: the 16 partial sums of one product are one vector. The 16-bit
// conversions are the 256-bit body's.
#include "kernels/isa/avx512.h"

#include "kernels/floats/x256.h"

namespace gemlet::kernels::avx512 {
namespace {

template <int NR, int NT>
void dot_tile512(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t k, float* y, int64_t ldy) {
  __m512 s[NR][NT];
  for (int r = 0; r < NR; ++r)
    for (int t = 0; t < NT; ++t) s[r][t] = _mm512_setzero_ps();
  int64_t i = 0;
  for (; i + 16 <= k; i += 16) {
    __m512 weights[NR];
#pragma GCC unroll 4
    for (int r = 0; r < NR; ++r) weights[r] = _mm512_loadu_ps(w + r * ldw + i);
#pragma GCC unroll 4
    for (int t = 0; t < NT; ++t) {
      const __m512 v = _mm512_loadu_ps(x + t * ldx + i);
#pragma GCC unroll 4
      for (int r = 0; r < NR; ++r) s[r][t] = _mm512_fmadd_ps(weights[r], v, s[r][t]);
    }
  }
  for (int r = 0; r < NR; ++r) {
    for (int t = 0; t < NT; ++t) {
      float part[16];
      _mm512_storeu_ps(part, s[r][t]);
      for (int64_t j = i; j < k; ++j) part[j % 16] = __builtin_fmaf(w[r * ldw + j], x[t * ldx + j], part[j % 16]);
      y[t * ldy + r] = fold8(_mm256_add_ps(_mm256_loadu_ps(part), _mm256_loadu_ps(part + 8)));
    }
  }
}

template <int NR>
void dot_rows512(const float* w, int64_t ldw, const float* x, int64_t ldx, int64_t count, int64_t k, float* y,
                 int64_t ldy) {
  int64_t t = 0;
  for (; t + 4 <= count; t += 4) dot_tile512<NR, 4>(w, ldw, x + t * ldx, ldx, k, y + t * ldy, ldy);
  for (; t < count; ++t) dot_tile512<NR, 1>(w, ldw, x + t * ldx, ldx, k, y + t * ldy, ldy);
}

void dot_f32_512(const float* w, int64_t ldw, int64_t rows, const float* x, int64_t ldx, int64_t count, int64_t k,
                 float* y, int64_t ldy) {
  int64_t r = 0;
  for (; r + 4 <= rows; r += 4) dot_rows512<4>(w + r * ldw, ldw, x, ldx, count, k, y + r, ldy);
  for (; r < rows; ++r) dot_rows512<1>(w + r * ldw, ldw, x, ldx, count, k, y + r, ldy);
}

}  // namespace

void add_floats(Table& table) {
  add_all(table);
  table.dot_f32 = dot_f32_512;
}

}  // namespace gemlet::kernels::avx512
