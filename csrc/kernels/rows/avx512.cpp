// Row operations for avx512: the 256-bit body (norms and sums have eight phases), and the machine's limits at 512 bits:
// independent vpdpbusd chains, twelve of them to hide a latency of 5 at 2 a cycle.
#include "kernels/isa/avx512.h"

#include "kernels/rows/x256.h"

namespace gemlet::kernels::avx512 {
namespace {

constexpr int kChains = 12;
constexpr int kRounds = 4;  // steps unrolled, so that the compiler's register moves are few

uint64_t read_stream512(const uint8_t* p, size_t bytes) {
  __m512i sums[4];
  for (__m512i& s : sums) s = _mm512_setzero_si512();
  for (size_t i = 0; i + 256 <= bytes; i += 256)
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; ++j) sums[j] = _mm512_add_epi64(sums[j], _mm512_loadu_si512(p + i + 64 * j));
  uint64_t lanes[8], total = 0;
  _mm512_storeu_si512(lanes, _mm512_add_epi64(_mm512_add_epi64(sums[0], sums[1]), _mm512_add_epi64(sums[2], sums[3])));
  for (const uint64_t lane : lanes) total += lane;
  return total;
}

double int8_stream(int64_t steps) {
  __m512i sums[kChains];
  const __m512i one = _mm512_set1_epi32(0x01010101);
  __m512i u = one;
#pragma GCC unroll 12
  for (int j = 0; j < kChains; ++j)
    sums[j] = _mm512_set1_epi32(j);  // unlike each other, or they might become one chain
  const int64_t loops = (steps + kRounds - 1) / kRounds;
  for (int64_t i = 0; i < loops; ++i) {
    __asm__ volatile("" : "+m"(u));  // keeps the multiplications in the loop
#pragma GCC unroll 48
    for (int j = 0; j < kRounds * kChains; ++j) sums[j % kChains] = _mm512_dpbusd_epi32(sums[j % kChains], u, one);
  }
  __m512i all = sums[0];
#pragma GCC unroll 12
  for (int j = 1; j < kChains; ++j) all = _mm512_xor_si512(all, sums[j]);
  __asm__ volatile("" : : "m"(all));
  return static_cast<double>(loops) * kRounds * kChains * 64 * 2;
}

}  // namespace

void add_rows(Table& table) {
  add_all(table);
  table.read_stream = read_stream512;
  table.int8_stream = int8_stream;
}

}  // namespace gemlet::kernels::avx512
