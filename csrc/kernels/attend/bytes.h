// One tile of attention over Q8_0 pages: bytes are widened to int16 and multiplied with int16 queries and weights, pairs of
// products adding up in 32 bits; each block of 32 products, or of 64 keys, becomes float once. A set gives `Pairs`: one
// vector of such sums.
#pragma once

#include "kernels/attend/byte_page.h"
#include "kernels/attend/tile.h"

namespace gemlet::kernels {
namespace {

constexpr int kValueRows = 4;  // share the widening of a value

// By the set, in any order of the keys that is the same in all three:
// the weights of one row for the keys of a page, divided by the largest; returns that one, or 0 where all are too small to
// count.
float normalize_weights(float* weights);
// The scales of one block of values for the keys `seen` of a page, so that the largest becomes 32767; 0 for other keys.
// Returns what one unit stands for.
float normalize_scales(const uint8_t* block, Span seen, float* scales);
// Their products to the nearest integer, in the keys' own order.
void weights_to_integers(const float* weights, const float* scales, int16_t* out);

// Scores of NR rows from r on against the 16 keys of a group.
template <class P, int NR>
void score_group(const AttendTile& tile, int64_t r, const uint8_t* group, float* scores) {
  constexpr int kVectors = kGroupKeys / P::kLanes;
  typename P::Floats sums[NR][kVectors];
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < kVectors; ++h) sums[i][h] = P::zero();
  for (int64_t b = 0; b < tile.channels / kBlock; ++b) {
    const uint8_t* block = group + b * kKeyBlock;
    if (r == 0) fetch_ahead(block, kKeyBlock);
    const int16_t* q = tile.q16 + r * tile.channels + b * kBlock;
    typename P::Integers dot[NR][kVectors];
#pragma GCC unroll 16
    for (int pair = 0; pair < kBlock / 2; ++pair) {
      typename P::Wide key[kVectors];
#pragma GCC unroll 2
      for (int h = 0; h < kVectors; ++h) key[h] = P::widen(block + kKeyScales + (pair * kVectors + h) * 2 * P::kLanes);
#pragma GCC unroll 8
      for (int i = 0; i < NR; ++i) {
        const typename P::Two two = P::broadcast(q + i * tile.channels + 2 * pair);
#pragma GCC unroll 2
        for (int h = 0; h < kVectors; ++h)
          dot[i][h] = pair == 0 ? P::multiply(key[h], two) : P::add(dot[i][h], key[h], two);
      }
    }
    for (int h = 0; h < kVectors; ++h) {
      const typename P::Floats scale = P::halves(block + h * 2 * P::kLanes);
      for (int i = 0; i < NR; ++i) sums[i][h] = P::fma(P::to_float(dot[i][h]), scale, sums[i][h]);
    }
  }
  for (int i = 0; i < NR; ++i)
    for (int h = 0; h < kVectors; ++h)
      P::store_times(sums[i][h], tile.q_scale[r + i] * tile.scale, scores + i * kTileKeys + h * P::kLanes);
}

// out (NR rows, 32 channels) += weights x one block of values, for the key pairs [first, last) of a page.
template <class P, int NR>
void value_block(const uint8_t* values, const int16_t (*weights)[kPageKeys], const float* factor, int64_t first,
                 int64_t last, float* out, int64_t ld) {
  constexpr int kVectors = 2;
  for (int c = 0; c < kBlock; c += kVectors * P::kLanes) {
    typename P::Integers dot[NR][kVectors];
    for (int i = 0; i < NR; ++i)
      for (int h = 0; h < kVectors; ++h) dot[i][h] = P::none();
    for (int64_t pair = first; pair < last; ++pair) {
      typename P::Wide value[kVectors];
#pragma GCC unroll 2
      for (int h = 0; h < kVectors; ++h) value[h] = P::widen(values + (pair * kBlock + c + h * P::kLanes) * 2);
#pragma GCC unroll 4
      for (int i = 0; i < NR; ++i) {
        const typename P::Two two = P::broadcast(weights[i] + 2 * pair);
#pragma GCC unroll 2
        for (int h = 0; h < kVectors; ++h) dot[i][h] = P::add(dot[i][h], value[h], two);
      }
    }
    for (int i = 0; i < NR; ++i)
      for (int h = 0; h < kVectors; ++h) P::add_times(dot[i][h], factor[i], out + i * ld + c + h * P::kLanes);
  }
}

// One block of 32 channels of a page of values.
struct ValueBlock {
  const uint8_t *scales, *values;
  int64_t at;            // of the page's first key in the tile
  Span all;              // keys of the page that some row sees
  float* out;            // its channels of row 0
  const float* largest;  // (rows) by normalize_weights
};

// The scales of a block as normalised for the rows that see the same keys of its page.
struct SeenScales {
  alignas(32) float scales[kPageKeys] = {};
  Span seen{-1, -1};
  float unit = 0;
};

template <class P, int NR>
void add_value_block(const AttendTile& tile, int64_t r, const ValueBlock& block, SeenScales& scales) {
  alignas(32) int16_t weights[NR][kPageKeys];
  float factor[NR];
  for (int i = 0; i < NR; ++i) {
    const Span own = common(visible(tile, r + i), {block.at, block.at + kPageKeys});
    if (own.begin != scales.seen.begin || own.end != scales.seen.end) {
      scales.seen = own;
      scales.unit = normalize_scales(block.scales, {own.begin - block.at, own.end - block.at}, scales.scales);
    }
    weights_to_integers(tile.scores + (r + i) * kTileKeys + block.at, scales.scales, weights[i]);
    factor[i] = block.largest[r + i] * scales.unit;
  }
  value_block<P, NR>(block.values, weights, factor, block.all.begin / 2, (block.all.end + 1) / 2,
                     block.out + r * tile.channels, tile.channels);
}

// Adds a page of values: keys [at, at + kPageKeys) of the tile.
template <class P>
void add_values_of_page(const AttendTile& tile, int64_t at, Span all) {
  float* largest = tile.widened + kPageKeys * tile.channels;
  const auto* page = static_cast<const uint8_t*>(tile.v[at / kPageKeys]);
  for (int64_t r = 0; r < tile.rows; ++r) largest[r] = normalize_weights(tile.scores + r * kTileKeys + at);
  for (int64_t b = 0; b < tile.channels / kBlock; ++b) {
    const uint8_t* bytes = page + b * kValueBlock;
    fetch_ahead(bytes, kValueBlock);
    const ValueBlock block{bytes,  bytes + kValueScales, at, {all.begin - at, all.end - at}, tile.out + b * kBlock,
                           largest};
    SeenScales scales;
    int64_t r = 0;
    for (; r + kValueRows <= tile.rows; r += kValueRows) add_value_block<P, kValueRows>(tile, r, block, scales);
    for (; r < tile.rows; ++r) add_value_block<P, 1>(tile, r, block, scales);
  }
}

template <class P>
void attend_bytes(const AttendTile& tile) {
  const int64_t group_bytes = tile.channels / kBlock * kKeyBlock;
  const Span all = visible_to_any(tile, 0, tile.rows);
  for (int64_t j = all.begin / kGroupKeys * kGroupKeys; j < all.end; j += kGroupKeys) {
    const auto* page = static_cast<const uint8_t*>(tile.k[j / kPageKeys]);
    const uint8_t* group = page + j % kPageKeys / kGroupKeys * group_bytes;
    int64_t r = 0;
    for (; r + P::kScoreRows <= tile.rows; r += P::kScoreRows)
      score_group<P, P::kScoreRows>(tile, r, group, tile.scores + r * kTileKeys + j);
    for (; r < tile.rows; ++r) score_group<P, 1>(tile, r, group, tile.scores + r * kTileKeys + j);
  }
  for (int64_t r = 0; r < tile.rows; ++r) softmax_row(tile, r);
  std::memset(tile.out, 0, static_cast<size_t>(tile.rows * tile.channels) * sizeof(float));
  for (int64_t at = all.begin / kPageKeys * kPageKeys; at < all.end; at += kPageKeys)
    add_values_of_page<P>(tile, at, common(all, {at, at + kPageKeys}));
}

}  // namespace
}  // namespace gemlet::kernels
