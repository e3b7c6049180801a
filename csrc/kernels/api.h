// The kernels' interface: plain structs and function pointers, one table an instruction set. Kernels are single-threaded,
// own no memory and never throw; shapes were checked by ops/. The scalar table is the oracle of all others.
//
// Every float sum has one fixed order, the same on every instruction set, in matrix-vector and matrix-matrix kernels:
//   products are added with fused multiply-adds into `kPhases` partial sums, block (or element) i into sum i mod kPhases,
//   and the partial sums are folded as a tree: s[i] += s[i + n/2] until one is left.
// The product of two blocks is one integer times the product of their scales; where halves of a block have integer scales,
// these are part of that integer. Of 6-bit weights it is at most 32 * 32 * 127 * 128 < 2^24, so exact as a float too.
// So a result does not depend on how rows, tokens or threads were grouped, and each table can be compared for equality.
#pragma once

#include <cstddef>
#include <cstdint>

#include "codec/blocks.h"

namespace gemlet::kernels {

constexpr int kBlock = 32;        // activations are quantised in blocks of 32
constexpr int kPhases = 8;        // partial sums of a quantised dot product, and of attention
constexpr int kFloatPhases = 16;  // partial sums of a float dot product
constexpr int kPanelRows = 16;    // weight rows unpacked together
constexpr int kPadBlocks = 8;     // activation rows are padded with zero blocks to a multiple of this
constexpr int kTileKeys = 256;    // attention works in tiles of this many keys, at absolute positions
constexpr int kPageKeys = 64;     // keys in a page of the cache; divides kTileKeys

// T rows of activations quantised to int8, each block with its own scale; B = padded number of blocks.
struct QuantRows {
  int8_t* q;         // (T, B * 32), in -127..127
  float* d;          // (T, B), x ~ d * q
  int32_t* sum;      // (T, B), sum of q over the block
  int16_t* minus32;  // (T, B, 2, 2), of each half block -32 times the sums of elements 0, 1 and of 2, 3 modulo 4
  float* dsum;       // (T, B), d * sum
  int64_t blocks;    // B
};

// Products in 16 bits, for the towers that see and hear: rows x ~ d * q against panels of 16 rows w ~ scale * q. The products
// of kWideBlock values are added as integers, so those of the largest values have to fit 32 bits: of activations and
// weights, and of shares (of attention) and values.
constexpr int kWideBlock = 64;
constexpr int kWideActivation = 8191, kWideWeight = 4095, kWideShare = 16383, kWideValue = 2047;
static_assert(int64_t{kWideBlock} * kWideActivation * kWideWeight < INT32_MAX);
static_assert(int64_t{kWideBlock} * kWideShare * kWideValue < INT32_MAX);
struct WideRows {
  const int16_t* q;  // row t at q + t * ld, K values used
  const float* d;    // row t at d + t * blocks: a scale for each kWideBlock values, and for what is left of them
  int64_t ld, blocks;
};
struct WidePanel {
  const int16_t* q;    // (K / 2, 16, 2): two consecutive values of each row side by side
  const float* scale;  // (16)
  int64_t k;           // K, a multiple of 8
};

// 16 weight rows unpacked to bytes. B = blocks of 32 in a row.
struct Panel {
  uint8_t* q;    // (B, 8, 16, 4): four consecutive elements of each row side by side
  float* scale;  // (B, 16)
  float* min;    // (B, 16), only for formats with a minimum
  // (B, 2, 16), only for formats with halves: their integer scales, in the kind of number the set wants
  int32_t* halves;
};

// The kernels of one block format.
struct Format {
  codec::Type type;
  bool has_min, has_halves;  // a minimum a block; an integer scale for each half of a block, in -128..127
  // y[r] = row r of w times x (one row of QuantRows).
  void (*matvec)(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const QuantRows& x, float* y);
  // The first `rows` rows at w into a panel; missing rows repeat the last one.
  void (*unpack)(const uint8_t* w, size_t row_bytes, int64_t rows, int64_t blocks, const Panel& panel);
  // y[t * ldy + r] = panel row r times x row t, for t in [0, count) and r in [0, rows).
  void (*gemm)(const Panel& panel, int64_t rows, int64_t blocks, const QuantRows& x, int64_t count, float* y,
               int64_t ldy);
};

constexpr int kFormats = 6;

// How a page holds the kPageKeys keys or values of one head. Floats: (kPageKeys, C). Q8_0: blocks of 32 channels of a key,
// each with a binary16 scale, in the order in which integer products want them (kernels/attend/byte_page.h).
enum class KvType { F32, F16, Q8_0 };

// One tile of attention: `rows` query rows against the keys [first, first + count) of one key/value head.
struct AttendTile {
  const float* q;  // (rows, C), row r at q + r * ldq; not read for Q8_0
  int64_t ldq;
  const int16_t* q16;  // (rows, C) and (rows): q = q_scale * q16, for Q8_0
  const float* q_scale;
  int64_t rows;
  int64_t channels;  // C, a multiple of 8; of 32 for Q8_0
  float scale;
  const void* const* k;  // pages of this head from key `first` on
  const void* const* v;
  KvType type;
  int64_t first, count;  // count <= kTileKeys
  const int64_t* begin;  // (rows) visible keys of a row: [begin, end)
  const int64_t* end;
  float* scores;   // scratch (rows, kTileKeys)
  float* widened;  // scratch (kPageKeys, C) + (rows)
  float* max;      // (rows) largest score in this tile, -inf where no key is visible
  float* sum;      // (rows) sum of exp(score - max)
  float* out;      // (rows, C) sum of exp(score - max) * v
};

struct Table {
  const char* name;
  Format formats[kFormats];

  // x (K) -> one row of QuantRows; K <= B * 32, the rest is zero. A block with a non-finite value gets d = NaN.
  void (*quantize)(const float* x, int64_t k, const QuantRows& row);
  // y[t * ldy + r] = w row r . x row t over K elements.
  void (*dot_f32)(const float* w, int64_t ldw, int64_t rows, const float* x, int64_t ldx, int64_t count, int64_t k,
                  float* y, int64_t ldy);
  // y[r] = w row r . x over K elements: the bits of widening the rows first.
  void (*matvec_f16)(const uint16_t* w, int64_t ldw, int64_t rows, const float* x, int64_t k, float* y);
  void (*matvec_bf16)(const uint16_t* w, int64_t ldw, int64_t rows, const float* x, int64_t k, float* y);
  void (*widen_f16)(const uint16_t* x, int64_t n, float* y);
  void (*widen_bf16)(const uint16_t* x, int64_t n, float* y);
  void (*narrow_f16)(const float* x, int64_t n, uint16_t* y);

  // y = x / sqrt(mean(x^2) + eps) * w; w may be null (no weight). In place is allowed.
  void (*rms_norm)(const float* x, const float* w, float eps, int64_t n, float* y);
  // x += rms_norm(h)
  void (*add_rms_norm)(const float* h, const float* w, float eps, int64_t n, float* x);
  // y = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * w + b
  void (*layer_norm)(const float* x, const float* w, const float* b, float eps, int64_t n, float* y);
  // x = gelu(x + bias), by the error function; bias may be null
  void (*gelu_erf)(const float* bias, int64_t n, float* x);
  // y = gelu_tanh(gate) * up
  void (*gelu_mul)(const float* gate, const float* up, int64_t n, float* y);
  // y = a / (1 + exp(-b)): SiLU where b is a. In place is allowed.
  void (*sigmoid_mul)(const float* a, const float* b, int64_t n, float* y);
  // Half-split rotary embedding of one head: pairs (d, d + C/2), cos and sin (C/2).
  void (*rope)(const float* x, const float* cos, const float* sin, int64_t channels, float* y);
  void (*scale)(float factor, int64_t n, float* x);
  void (*softcap)(float cap, int64_t n, float* x);  // x = cap * tanh(x / cap)

  // Sum of exp(x - max), in kPhases partial sums.
  float (*sum_exp)(const float* x, int64_t n, float max);

  // x (n, a multiple of 8) -> int16 in -most..most and the scale; NaN, and zeros, where a value is not finite.
  float (*quantize16)(const float* x, int64_t n, int32_t most, int16_t* q);
  void (*attend)(const AttendTile& tile);
  // Folds a tile's (max, sum, out) into the running ones; acc_max starts at -inf, acc_sum and acc_out at 0.
  void (*attend_merge)(const AttendTile& tile, float* acc_max, float* acc_sum, float* acc_out, int64_t ld);

  // y[t * ldy + r] = panel row r times x row t, for t in [0, count) and r in [0, rows).
  void (*gemm_wide)(const WidePanel& panel, int64_t rows, const WideRows& x, int64_t count, float* y, int64_t ldy);
  // Scores (n, a multiple of 16) to base 2 -> shares 2^(score - max) in units of 1 / kWideShare. Returns the sum of
  // 2^(score - max), in kFloatPhases partial sums; NaN if a score is, and then shares are any.
  float (*weigh)(const float* scores, int64_t n, int16_t* shares, float* max);

  // For the machine's limits: reads `bytes` and returns a checksum; runs `steps` x 64 independent int8 multiply-adds
  // of the set's widest kind and returns how many operations (multiply and add count two) that were.
  uint64_t (*read_stream)(const uint8_t* p, size_t bytes);
  double (*int8_stream)(int64_t steps);
};

}  // namespace gemlet::kernels
