// Row operations for avxvnni, and its int8 limit: independent 256-bit vpdpbusd chains.
#include "kernels/isa/avxvnni.h"

#include "kernels/rows/x256.h"

namespace gemlet::kernels::avxvnni {
namespace {

constexpr int kRounds = 4;  // steps unrolled, so that the compiler's register moves are few

double int8_stream(int64_t steps) {
  __m256i sums[8];
  const __m256i one = _mm256_set1_epi8(1);
  __m256i u = one;
  for (int j = 0; j < 8; ++j) sums[j] = _mm256_set1_epi32(j);  // unlike each other, or they might become one chain
  const int64_t loops = (steps + kRounds - 1) / kRounds;
  for (int64_t i = 0; i < loops; ++i) {
    __asm__ volatile("" : "+x"(u));  // keeps the multiplications in the loop
#pragma GCC unroll 32
    for (int j = 0; j < kRounds * 8; ++j) sums[j % 8] = _mm256_dpbusd_avx_epi32(sums[j % 8], u, one);
  }
  __m256i all = sums[0];
  for (int j = 1; j < 8; ++j) all = _mm256_xor_si256(all, sums[j]);
  __asm__ volatile("" : : "x"(all));
  return static_cast<double>(loops) * kRounds * 8 * 32 * 2;
}

}  // namespace

void add_rows(Table& table) {
  add_all(table);
  table.int8_stream = int8_stream;
}

}  // namespace gemlet::kernels::avxvnni
