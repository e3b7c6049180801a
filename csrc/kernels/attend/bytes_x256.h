// Attention over Q8_0 pages in 256-bit vectors: queries, weights and scales as integers, and pairs of products.
// Zen 3: vpmaddwd 2 a cycle, so 32 multiply-adds a cycle, twice what float32 does.
#pragma once

#include "kernels/attend/bytes.h"
#include "kernels/attend/tile_x256.h"

namespace gemlet::kernels {
namespace {

inline float quantize16(const float* x, int64_t n, int32_t most_level, int16_t* q) {
  const auto levels = static_cast<float>(most_level);
  const __m256 magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF));
  __m256i most = _mm256_setzero_si256();  // as integers, so that NaN is the largest
  for (int64_t i = 0; i < n; i += 8)
    most = _mm256_max_epi32(most, _mm256_castps_si256(_mm256_and_ps(_mm256_loadu_ps(x + i), magnitude)));
  alignas(32) int32_t lanes[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(lanes), most);
  int32_t bits = 0;
  for (const int32_t lane : lanes) bits = lane > bits ? lane : bits;
  float top = 0;
  std::memcpy(&top, &bits, 4);
  const bool finite = bits < 0x7F800000, some = finite && top >= kLeastWeight;
  if (!some) {
    std::memset(q, 0, static_cast<size_t>(n) * sizeof(int16_t));
    return finite ? 0.0F : __builtin_nanf("");
  }
  const __m256 to_integer = _mm256_set1_ps(levels / top);
  for (int64_t i = 0; i < n; i += 8) {
    const __m256i wide = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + i), to_integer));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i),
                     _mm_packs_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1)));
  }
  return top / levels;
}

// The largest of eight lanes that are not negative; NaN counts as the largest.
inline float largest_of(__m256i bits) {
  __m128i top = _mm_max_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  top = _mm_max_epi32(top, _mm_unpackhi_epi64(top, top));
  top = _mm_max_epi32(top, _mm_shuffle_epi32(top, 1));
  return _mm_cvtss_f32(_mm_castsi128_ps(top));
}

// Keys of a page in the order in which packing two vectors of 32 bits to one of 16 puts them right again:
// 0..3, 8..11 and 4..7, 12..15 of each sixteen.
inline __m256i packing_order(int vector) {
  const __m256i even = _mm256_setr_epi32(0, 1, 2, 3, 8, 9, 10, 11);
  return _mm256_add_epi32(even, _mm256_set1_epi32(vector / 2 * 16 + vector % 2 * 4));
}

// In packing order.
inline float normalize_weights(float* weights) {
  __m256 w[kPageKeys / 8];
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < kPageKeys / 8; ++i) {
    w[i] = _mm256_loadu_ps(weights + 8 * i);
    most = _mm256_max_epi32(most, _mm256_castps_si256(w[i]));
  }
  const float largest = largest_of(most);
  const bool counts = largest >= kLeastWeight;
  const __m256 factor = _mm256_set1_ps(counts ? 1.0F / largest : 0.0F);
  for (int i = 0; i < kPageKeys / 8; i += 2) {
    const __m256 a = _mm256_mul_ps(w[i], factor), b = _mm256_mul_ps(w[i + 1], factor);
    _mm256_storeu_ps(weights + 8 * i, _mm256_permute2f128_ps(a, b, 0x20));
    _mm256_storeu_ps(weights + 8 * i + 8, _mm256_permute2f128_ps(a, b, 0x31));
  }
  return counts ? largest : 0.0F;
}

// In packing order.
inline float normalize_scales(const uint8_t* block, Span seen, float* scales) {
  const __m256i before = _mm256_set1_epi32(static_cast<int>(seen.begin) - 1);
  const __m256i end = _mm256_set1_epi32(static_cast<int>(seen.end));
  __m256 s[kPageKeys / 8];
  __m256i most = _mm256_setzero_si256();
  for (int i = 0; i < kPageKeys / 8; ++i) {
    const __m256i at = packing_order(i);
    const __m256i mask = _mm256_and_si256(_mm256_cmpgt_epi32(at, before), _mm256_cmpgt_epi32(end, at));
    const uint8_t* halves = block + i / 2 * 32 + i % 2 * 8;
    const __m128i eight = _mm_unpacklo_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(halves)),
                                             _mm_loadl_epi64(reinterpret_cast<const __m128i*>(halves + 16)));
    s[i] = _mm256_and_ps(_mm256_cvtph_ps(eight), _mm256_castsi256_ps(mask));
    most = _mm256_max_epi32(most, _mm256_castps_si256(s[i]));
  }
  const float largest = largest_of(most);
  const __m256 factor = _mm256_set1_ps(largest == 0 ? 0.0F : 32767.0F / largest);
  for (int i = 0; i < kPageKeys / 8; ++i) _mm256_store_ps(scales + 8 * i, _mm256_mul_ps(s[i], factor));
  return largest * (1.0F / 32767.0F);
}

inline void weights_to_integers(const float* weights, const float* scales, int16_t* out) {
  const auto integers = [&](int i) {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(weights + 8 * i), _mm256_load_ps(scales + 8 * i)));
  };
#pragma GCC unroll 4
  for (int i = 0; i < kPageKeys / 8; i += 2)
    _mm256_store_si256(reinterpret_cast<__m256i*>(out + 8 * i), _mm256_packs_epi32(integers(i), integers(i + 1)));
}

// Eight lanes of 32 bits; a set says how pairs of products are added (`PairDot` in its isa header).
struct Pairs256 {
  using Wide = __m256i;  // bytes as int16
  using Two = __m256i;   // a pair of int16 again and again
  using Integers = __m256i;
  using Floats = __m256;
  static constexpr int kLanes = 8, kScoreRows = 4;
  static __m256i none() { return _mm256_setzero_si256(); }
  static __m256 zero() { return _mm256_setzero_ps(); }
  static __m256i widen(const uint8_t* bytes) { return _mm256_cvtepi8_epi16(load16(bytes)); }
  static __m256i broadcast(const int16_t* pair) {
    int two = 0;
    std::memcpy(&two, pair, 4);
    return _mm256_set1_epi32(two);
  }
  static __m256i multiply(__m256i a, __m256i b) { return _mm256_madd_epi16(a, b); }
  static __m256i add(__m256i sum, __m256i a, __m256i b) { return PairDot::add(sum, a, b); }
  static __m256 to_float(__m256i v) { return _mm256_cvtepi32_ps(v); }
  static __m256 halves(const uint8_t* p) { return _mm256_cvtph_ps(load16(p)); }
  static __m256 fma(__m256 a, __m256 b, __m256 c) { return _mm256_fmadd_ps(a, b, c); }
  static void store_times(__m256 v, float factor, float* out) {
    _mm256_storeu_ps(out, _mm256_mul_ps(v, _mm256_set1_ps(factor)));
  }
  static void add_times(__m256i v, float factor, float* out) {
    _mm256_storeu_ps(out, _mm256_fmadd_ps(_mm256_cvtepi32_ps(v), _mm256_set1_ps(factor), _mm256_loadu_ps(out)));
  }
};

}  // namespace
}  // namespace gemlet::kernels
