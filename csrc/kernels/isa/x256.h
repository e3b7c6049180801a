// 256-bit building blocks shared by the avx2, avxvnni and avx512 kernels: the blocks of each fast format as bytes, their scales,
// transposes and sums. Everything has internal linkage; a file that includes this is compiled for its own set only.
//
// A "group" is eight blocks of 32 weights, a whole block of the 256-element formats. `u<J>(group)` is block J as 32 bytes;
// w = scale * (u - kOffset) - min, times the integer scale of its half where the format has halves. Widest chain: int32 in
// integers, float32 with fused multiply-add after them.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/api.h"

namespace gemlet::kernels {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m128i load16(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
inline __m128i load4(const void* p) {
  int four = 0;
  std::memcpy(&four, p, 4);
  return _mm_cvtsi32_si128(four);
}

// Four bytes, as often as there is room.
inline __m256i broadcast4(const void* p) {
  int four = 0;
  std::memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}

// 16 bytes of nibbles -> low nibbles in bytes 0..15, high nibbles in 16..31. The load puts them into both halves, and the
// upper one is shifted: no lane is crossed.
inline __m256i nibbles(const uint8_t* packed) {
  const __m256i both = _mm256_broadcastsi128_si256(load16(packed));
  const __m256i shifted = _mm256_srlv_epi32(both, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4));
  return _mm256_and_si256(shifted, _mm256_set1_epi8(15));
}

// The binary16 with which two, or four, blocks begin that lie kStride bytes apart. Put together in general registers they
// would be twice as many instructions.
template <size_t kStride>
__m128i two_halves(const uint8_t* block) {
  return _mm_unpacklo_epi16(load4(block), load16(block + kStride));
}
template <size_t kStride>
__m128i four_halves(const uint8_t* group) {
  return _mm_unpacklo_epi32(two_halves<kStride>(group), two_halves<kStride>(group + 2 * kStride));
}

// The binary16 scales of kBlocks (8 or 4) blocks that lie kStride bytes apart.
template <size_t kStride, int kBlocks>
__m256 half_scales(const uint8_t* group) {
  __m128i halves = four_halves<kStride>(group);
  if (kBlocks == 8) halves = _mm_unpacklo_epi64(halves, four_halves<kStride>(group + 4 * kStride));
  return _mm256_cvtph_ps(halves);
}

inline float half_at(const uint8_t* p) {
  uint16_t h = 0;
  std::memcpy(&h, p, 2);
  return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(h)));
}

struct FmtQ4_0 {
  static constexpr codec::Type kType = codec::Type::Q4_0;
  static constexpr int kOffset = 8, kMax = 15;
  static constexpr bool kHasMin = false, kHasHalves = false, kSigned = false, kLegacy = true;
  static constexpr size_t kGroupBytes = 8 * sizeof(codec::BlockQ4_0);
  template <int J>
  static __m256i u(const uint8_t* g) {
    return nibbles(g + J * sizeof(codec::BlockQ4_0) + 2);
  }
  template <int kBlocks = 8>
  static __m256 scales(const uint8_t* g) {
    return half_scales<sizeof(codec::BlockQ4_0), kBlocks>(g);
  }
  static __m256 mins(const uint8_t* /*g*/) { return _mm256_setzero_ps(); }
};

// 16 in the bytes whose bit is set in `bytes`, element i in bit i % 8. The highest bit alone is a negative byte.
inline __m256i fifth_bits(__m256i bytes) {
  const __m256i bit = _mm256_set1_epi64x(static_cast<long long>(0x8040201008040201ULL));
  const __m256i sixteen = _mm256_set1_epi64x(static_cast<long long>(0xF010101010101010ULL));
  return _mm256_sign_epi8(sixteen, _mm256_and_si256(bytes, bit));
}

struct FmtQ5_0 {
  static constexpr codec::Type kType = codec::Type::Q5_0;
  static constexpr int kOffset = 16, kMax = 31;
  static constexpr bool kHasMin = false, kHasHalves = false, kSigned = false, kLegacy = true;
  static constexpr size_t kGroupBytes = 8 * sizeof(codec::BlockQ5_0);
  template <int J>
  static __m256i u(const uint8_t* g) {
    const uint8_t* block = g + J * sizeof(codec::BlockQ5_0);
    int high = 0;
    std::memcpy(&high, block + 2, 4);
    // Bit i of `high` to byte i: spread the four bytes, keep one bit of each.
    const __m256i spread = _mm256_shuffle_epi8(
        _mm256_set1_epi32(high),
        _mm256_setr_epi64x(0x0000000000000000LL, 0x0101010101010101LL, 0x0202020202020202LL, 0x0303030303030303LL));
    return _mm256_or_si256(nibbles(block + 6), fifth_bits(spread));
  }
  template <int kBlocks = 8>
  static __m256 scales(const uint8_t* g) {
    return half_scales<sizeof(codec::BlockQ5_0), kBlocks>(g);
  }
  static __m256 mins(const uint8_t* /*g*/) { return _mm256_setzero_ps(); }
};

struct FmtQ8_0 {
  static constexpr codec::Type kType = codec::Type::Q8_0;
  static constexpr int kOffset = 0, kMax = 127;
  static constexpr bool kHasMin = false, kHasHalves = false, kSigned = true,
                        kLegacy = true;  // u is the signed byte itself
  static constexpr size_t kGroupBytes = 8 * sizeof(codec::BlockQ8_0);
  template <int J>
  static __m256i u(const uint8_t* g) {
    return load(g + J * sizeof(codec::BlockQ8_0) + 2);
  }
  template <int kBlocks = 8>
  static __m256 scales(const uint8_t* g) {
    return half_scales<sizeof(codec::BlockQ8_0), kBlocks>(g);
  }
  static __m256 mins(const uint8_t* /*g*/) { return _mm256_setzero_ps(); }
};

// The eight six-bit scales, or minima, of a Q4_K or Q5_K block as lanes. Of the 12 bytes at `packed` the first four hold
// scales 0..3 and, above them, two bits of 4..7; the next four the same of the minima; the last four the low nibbles of
// scales 4..7 and the high ones of minima. Bytes are spread inside each half: crossing halves costs more.
template <bool kMins>
__m256 six_bits(const uint8_t* packed) {
  constexpr int kAt = kMins ? 4 : 0, kByte = static_cast<int>(0x80808000U), kNone = static_cast<int>(0x80808080U);
  const auto lane = [](int byte) { return byte | kByte; };
  const __m256i bytes = _mm256_broadcastsi128_si256(load16(packed));  // the block goes on behind the 12
  const __m256i low = _mm256_shuffle_epi8(
      bytes,
      _mm256_setr_epi32(lane(kAt), lane(kAt + 1), lane(kAt + 2), lane(kAt + 3), lane(8), lane(9), lane(10), lane(11)));
  const __m256i high = _mm256_shuffle_epi8(
      bytes, _mm256_setr_epi32(kNone, kNone, kNone, kNone, lane(kAt), lane(kAt + 1), lane(kAt + 2), lane(kAt + 3)));
  const __m256i shifted = kMins ? _mm256_srlv_epi32(low, _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4)) : low;
  const __m256i six = _mm256_and_si256(shifted, _mm256_setr_epi32(63, 63, 63, 63, 15, 15, 15, 15));
  const __m256i two = _mm256_and_si256(_mm256_srli_epi32(high, 2), _mm256_set1_epi32(0x30));
  return _mm256_cvtepi32_ps(_mm256_or_si256(six, two));
}

// The two binary16 at p, one after the other in all lanes.
inline __m256 two_halves(const uint8_t* p) {
  int both = 0;
  std::memcpy(&both, p, 4);
  return _mm256_cvtph_ps(_mm_set1_epi32(both));
}

template <class Block>
struct FmtK4 {
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true, kHasHalves = false, kSigned = false, kLegacy = false;
  static constexpr size_t kGroupBytes = sizeof(Block);
  template <int kBlocks = 8>
  static __m256 scales(const uint8_t* g) {
    return _mm256_mul_ps(_mm256_moveldup_ps(two_halves(g)), six_bits<false>(g + 4));
  }
  static __m256 mins(const uint8_t* g) {
    return _mm256_mul_ps(_mm256_movehdup_ps(two_halves(g)), six_bits<true>(g + 4));
  }
};

struct FmtQ4_K : FmtK4<codec::BlockQ4_K> {
  static constexpr codec::Type kType = codec::Type::Q4_K;
  static constexpr int kMax = 15;
  template <int J>
  static __m256i u(const uint8_t* g) {
    const __m256i packed = load(g + 16 + J / 2 * 32);
    return _mm256_and_si256(J % 2 ? _mm256_srli_epi16(packed, 4) : packed, _mm256_set1_epi8(15));
  }
};

struct FmtQ5_K : FmtK4<codec::BlockQ5_K> {
  static constexpr codec::Type kType = codec::Type::Q5_K;
  static constexpr int kMax = 31;
  template <int J>
  static __m256i u(const uint8_t* g) {
    const __m256i packed = load(g + 48 + J / 2 * 32), high = load(g + 16);
    const __m256i low = _mm256_and_si256(J % 2 ? _mm256_srli_epi16(packed, 4) : packed, _mm256_set1_epi8(15));
    const __m256i fifth = J < 4 ? _mm256_slli_epi16(high, (4 - J) & 15) : _mm256_srli_epi16(high, (J - 4) & 15);
    return _mm256_or_si256(low, _mm256_and_si256(fifth, _mm256_set1_epi8(16)));
  }
};

struct FmtQ6_K {
  static constexpr codec::Type kType = codec::Type::Q6_K;
  static constexpr int kOffset = 32, kMax = 63;
  static constexpr bool kHasMin = false, kHasHalves = true, kSigned = false, kLegacy = false;
  static constexpr size_t kGroupBytes = sizeof(codec::BlockQ6_K);
  template <int J>
  static __m256i u(const uint8_t* g) {
    constexpr int kHalf = J / 4, kPart = J % 4;
    const __m256i packed = load(g + kHalf * 64 + kPart % 2 * 32), high = load(g + 128 + kHalf * 32);
    const __m256i low = _mm256_and_si256(kPart / 2 ? _mm256_srli_epi16(packed, 4) : packed, _mm256_set1_epi8(15));
    const __m256i two = kPart < 2 ? _mm256_slli_epi16(high, 4 - 2 * (kPart % 2))
                                  : _mm256_srli_epi16(high, 2 * (kPart % 2));  // bits 2 part, 2 part + 1 -> bits 4, 5
    return _mm256_or_si256(low, _mm256_and_si256(two, _mm256_set1_epi8(48)));
  }
  template <int kBlocks = 8>
  static __m256 scales(const uint8_t* g) {
    return _mm256_set1_ps(half_at(g + 208));
  }
  // The integer scales of the blocks' first and second halves.
  static void halves(const uint8_t* g, __m256i* s) {
    const __m256i pairs = _mm256_cvtepi8_epi16(load16(g + 192));  // lane J: scales 2 J and 2 J + 1
    s[0] = _mm256_srai_epi32(_mm256_slli_epi32(pairs, 16), 16);
    s[1] = _mm256_srai_epi32(pairs, 16);
  }
  // Those of blocks J to J + 3, each twice in 16 bits: first halves in the lower four lanes.
  template <int J>
  static __m256i scale_pairs(const uint8_t* g) {
    const auto upper_bytes = [](int at) { return at * 0x01000100 | 0x00800080; };
    constexpr int kAt = 2 * J;
    const __m256i which =
        _mm256_setr_epi32(upper_bytes(kAt), upper_bytes(kAt + 2), upper_bytes(kAt + 4), upper_bytes(kAt + 6),
                          upper_bytes(kAt + 1), upper_bytes(kAt + 3), upper_bytes(kAt + 5), upper_bytes(kAt + 7));
    const __m256i all = _mm256_broadcastsi128_si256(load16(g + 192));
    return _mm256_srai_epi16(_mm256_shuffle_epi8(all, which), 8);
  }
  static __m256 mins(const uint8_t* /*g*/) { return _mm256_setzero_ps(); }
};

// Rows of eight 32-bit lanes -> columns.
inline void transpose8(__m256i* v) {
  __m256 a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm256_castsi256_ps(v[i]);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_castps_si256(_mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    v[i + 4] = _mm256_castps_si256(_mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

// s[i] += s[i + n/2] until one is left: the order of kernels/api.h.
inline float fold8(__m256 s) {
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

// The same fold for four vectors at once.
inline __m128 fold8x4(__m256 a, __m256 b, __m256 c, __m256 d) {
  __m128 r0 = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  __m128 r1 = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  __m128 r2 = _mm_add_ps(_mm256_castps256_ps128(c), _mm256_extractf128_ps(c, 1));
  __m128 r3 = _mm_add_ps(_mm256_castps256_ps128(d), _mm256_extractf128_ps(d, 1));
  _MM_TRANSPOSE4_PS(r0, r1, r2, r3);
  return _mm_add_ps(_mm_add_ps(r0, r2), _mm_add_ps(r1, r3));
}

// exp by the same operations as the scalar twin (kernels/isa/scalar_exp.h).
inline __m256 exp8(__m256 x) {
  x = _mm256_max_ps(x, _mm256_set1_ps(-87.0F));
  x = _mm256_min_ps(x, _mm256_set1_ps(88.0F));
  const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504F)), 8);  // nearest even, no exception
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693145752F), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(1.42860677e-6F), r);
  __m256 p = _mm256_set1_ps(1.38145417e-3F);
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(8.36874545e-3F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(4.1668389e-2F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.66665211e-1F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(0.49999994F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
  p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(1.0F));
  const __m256i power = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(p, _mm256_castsi256_ps(power));
}

}  // namespace
}  // namespace gemlet::kernels
