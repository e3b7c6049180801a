// Row operations for avx2, and its int8 limit: the fastest exact multiply-add it has is vpmaddubsw with 16-bit sums.
#include "kernels/isa/avx2.h"

#include "kernels/rows/x256.h"

namespace gemlet::kernels::avx2 {
namespace {

double int8_stream(int64_t steps) {
  __m256i sums[8];
  const __m256i one = _mm256_set1_epi8(1);
  __m256i u = one;
  for (__m256i& s : sums) s = _mm256_setzero_si256();
  for (int64_t i = 0; i < steps; ++i) {
#pragma GCC unroll 8
    for (int j = 0; j < 8; ++j) {
      __asm__ volatile("" : "+x"(u));  // a multiplication of its own for each sum
      sums[j] = _mm256_add_epi16(sums[j], _mm256_maddubs_epi16(u, one));
    }
  }
  __m256i all = sums[0];
  for (int j = 1; j < 8; ++j) all = _mm256_xor_si256(all, sums[j]);
  __asm__ volatile("" : : "x"(all));
  return static_cast<double>(steps) * 8 * 32 * 2;
}

}  // namespace

void add_rows(Table& table) {
  add_all(table);
  table.int8_stream = int8_stream;
}

}  // namespace gemlet::kernels::avx2
