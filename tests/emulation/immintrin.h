// Stands before the compiler's <immintrin.h> in the emulated build (CMakeLists.txt here): 512-bit vectors and vpdpbusd
// as portable code, all else as the CPU has it. Only what the kernels use; any other wide intrinsic fails to compile.
// The test of the kernels compares these with the scalar ones, and so checks the emulation too.
#pragma once

#include_next <immintrin.h>
#include <simde/x86/avx512.h>

#if !defined(__AVX2__) || !defined(__FMA__) || defined(__AVX512F__) || defined(__AVXVNNI__)
#error "the emulated kernels are built for AVX2 and FMA, and nothing wider"
#endif

namespace gemlet_emulation {
namespace {

// VPDPBUSD by its definition: four products of an unsigned byte of a and a signed byte of b, added to the 32-bit lane
// without saturation at any point (that would be VPDPBUSDS).
inline __m256i dpbusd(__m256i sum, __m256i a, __m256i b) {
  unsigned char u[32];
  signed char s[32];
  int lanes[8];
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(u), a);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(s), b);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), sum);
  for (int i = 0; i < 32; ++i) lanes[i / 4] += u[i] * s[i];
  return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(lanes));
}

// What this version of SIMDe lacks, from 256-bit halves.
template <int kHalf>
__m256 half_of(simde__m512 v) {
  float lanes[16];
  simde_mm512_storeu_ps(lanes, v);
  return _mm256_loadu_ps(lanes + 8 * kHalf);
}

inline simde__m512 to_float(simde__m512i v) {
  int lanes[16];
  float out[16];
  simde_mm512_storeu_si512(lanes, v);
  for (int i = 0; i < 16; ++i) out[i] = static_cast<float>(lanes[i]);
  return simde_mm512_loadu_ps(out);
}

}  // namespace
}  // namespace gemlet_emulation

// The compiler has some of these as macros.
#undef _mm256_dpbusd_avx_epi32
#undef _mm256_dpbusd_epi32
#undef _mm512_dpbusd_epi32
#undef _mm256_dpwssd_avx_epi32
#undef _mm256_dpwssd_epi32
#undef _mm512_dpwssd_epi32
#undef _mm512_madd_epi16
#undef _mm512_cvtepi8_epi16
#undef _mm512_setzero_si512
#undef _mm512_set1_epi32
#undef _mm512_loadu_si512
#undef _mm512_storeu_si512
#undef _mm512_add_epi64
#undef _mm512_xor_si512
#undef _mm512_cvtepi32_ps
#undef _mm512_setzero_ps
#undef _mm512_set1_ps
#undef _mm512_loadu_ps
#undef _mm512_storeu_ps
#undef _mm512_add_ps
#undef _mm512_mul_ps
#undef _mm512_fmadd_ps
#undef _mm512_fnmadd_ps
#undef _mm512_castps256_ps512
#undef _mm512_castps512_ps256
#undef _mm512_broadcast_f32x8
#undef _mm512_insertf32x8
#undef _mm512_extractf32x8_ps

// AVX-VNNI. The 256-bit form of AVX512VL is the same operation.
#define _mm256_dpbusd_avx_epi32(sum, a, b) gemlet_emulation::dpbusd(sum, a, b)
#define _mm256_dpbusd_epi32(sum, a, b) gemlet_emulation::dpbusd(sum, a, b)
#define _mm256_dpwssd_avx_epi32(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))
#define _mm256_dpwssd_epi32(sum, a, b) _mm256_add_epi32(sum, _mm256_madd_epi16(a, b))

// AVX-512.
#define __m512 simde__m512
#define __m512i simde__m512i
#define _mm512_dpbusd_epi32(sum, a, b) simde_mm512_dpbusd_epi32(sum, a, b)
#define _mm512_dpwssd_epi32(sum, a, b) simde_mm512_add_epi32(sum, simde_mm512_madd_epi16(a, b))
#define _mm512_madd_epi16(a, b) simde_mm512_madd_epi16(a, b)
#define _mm512_cvtepi8_epi16(v) simde_mm512_cvtepi8_epi16(v)
#define _mm512_setzero_si512() simde_mm512_setzero_si512()
#define _mm512_set1_epi32(x) simde_mm512_set1_epi32(x)
#define _mm512_loadu_si512(p) simde_mm512_loadu_si512(p)
#define _mm512_storeu_si512(p, v) simde_mm512_storeu_si512(p, v)
#define _mm512_add_epi64(a, b) simde_mm512_add_epi64(a, b)
#define _mm512_xor_si512(a, b) simde_mm512_xor_si512(a, b)
#define _mm512_cvtepi32_ps(v) gemlet_emulation::to_float(v)
#define _mm512_setzero_ps() simde_mm512_setzero_ps()
#define _mm512_set1_ps(x) simde_mm512_set1_ps(x)
#define _mm512_loadu_ps(p) simde_mm512_loadu_ps(p)
#define _mm512_storeu_ps(p, v) simde_mm512_storeu_ps(p, v)
#define _mm512_add_ps(a, b) simde_mm512_add_ps(a, b)
#define _mm512_mul_ps(a, b) simde_mm512_mul_ps(a, b)
#define _mm512_fmadd_ps(a, b, c) simde_mm512_fmadd_ps(a, b, c)
#define _mm512_fnmadd_ps(a, b, c) simde_mm512_fnmadd_ps(a, b, c)
#define _mm512_castps256_ps512(v) simde_mm512_castps256_ps512(v)
#define _mm512_castps512_ps256(v) simde_mm512_castps512_ps256(v)
#define _mm512_broadcast_f32x8(v) simde_mm512_broadcast_f32x8(v)
#define _mm512_insertf32x8(a, b, half) simde_mm512_insertf32x8(a, b, half)
#define _mm512_extractf32x8_ps(v, half) gemlet_emulation::half_of<half>(v)
