// The block layouts of GGUF, as plain structs that match the bytes on disk. Included by kernels: no functions here.
// Layout source: the GGUF type list of the ggml project, as read by the `gguf` Python package.
#pragma once

#include <cstdint>

namespace gemlet::codec {

// A table each, one line a row.
// clang-format off
enum class Type : uint32_t {
  F32 = 0, F16 = 1, Q4_0 = 2, Q4_1 = 3, Q5_0 = 6, Q5_1 = 7, Q8_0 = 8,
  Q2_K = 10, Q3_K = 11, Q4_K = 12, Q5_K = 13, Q6_K = 14,
  IQ4_NL = 20, IQ4_XS = 23, I8 = 24, I16 = 25, I32 = 26, I64 = 27, F64 = 28, BF16 = 30, MXFP4 = 39,
};

using Half = uint16_t;  // IEEE binary16, by its bits

#pragma pack(push, 1)
// 32 elements each.
struct BlockQ4_0 { Half d; uint8_t qs[16]; };                        // w = d * (q - 8); low nibbles 0..15, high 16..31
struct BlockQ4_1 { Half d, m; uint8_t qs[16]; };                     // w = d * q + m
struct BlockQ5_0 { Half d; uint8_t qh[4]; uint8_t qs[16]; };         // w = d * (q - 16); bit i of qh is q_i's fifth
struct BlockQ5_1 { Half d, m; uint8_t qh[4]; uint8_t qs[16]; };      // w = d * q + m
struct BlockQ8_0 { Half d; int8_t qs[32]; };                         // w = d * q
struct BlockIQ4_NL { Half d; uint8_t qs[16]; };                      // w = d * table[q]
struct BlockMXFP4 { uint8_t e; uint8_t qs[16]; };                    // w = 2^(e-128) * table[q]
// 256 elements each.
struct BlockQ2_K { uint8_t scales[16]; uint8_t qs[64]; Half d, dmin; };
struct BlockQ3_K { uint8_t hmask[32]; uint8_t qs[64]; uint8_t scales[12]; Half d; };
struct BlockQ4_K { Half d, dmin; uint8_t scales[12]; uint8_t qs[128]; };
struct BlockQ5_K { Half d, dmin; uint8_t scales[12]; uint8_t qh[32]; uint8_t qs[128]; };
struct BlockQ6_K { uint8_t ql[128]; uint8_t qh[64]; int8_t scales[16]; Half d; };
struct BlockIQ4_XS { Half d; uint16_t scales_h; uint8_t scales_l[4]; uint8_t qs[128]; };
#pragma pack(pop)
// clang-format on

static_assert(sizeof(BlockQ4_0) == 18 && sizeof(BlockQ4_1) == 20 && sizeof(BlockQ5_0) == 22 && sizeof(BlockQ5_1) == 24);
static_assert(sizeof(BlockQ8_0) == 34 && sizeof(BlockIQ4_NL) == 18 && sizeof(BlockMXFP4) == 17);
static_assert(sizeof(BlockQ2_K) == 84 && sizeof(BlockQ3_K) == 110 && sizeof(BlockQ4_K) == 144);
static_assert(sizeof(BlockQ5_K) == 176 && sizeof(BlockQ6_K) == 210 && sizeof(BlockIQ4_XS) == 136);

}  // namespace gemlet::codec
