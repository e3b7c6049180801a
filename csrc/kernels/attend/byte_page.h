// The order of a Q8_0 page: where the scale and the bytes of a key or value lie. Numbers only, with internal linkage: every
// instruction set includes it.
//
// Keys, so that one vector holds the same channels of several keys: groups of 16 keys, in each the blocks of 32 channels,
// in each block 16 scales and then, for each pair of channels, 16 keys x 2 channels.
// Values, so that one vector holds several channels of the same keys: blocks of 32 channels, in each 64 scales and then, for
// each pair of keys, 32 channels x 2 keys.
// A pair lies side by side because integer products add pairs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/api.h"

namespace gemlet::kernels {
namespace {

constexpr int64_t kGroupKeys = 16;
constexpr int64_t kKeyScales = kGroupKeys * 2, kKeyBlock = kKeyScales + kGroupKeys * kBlock;      // bytes
constexpr int64_t kValueScales = kPageKeys * 2, kValueBlock = kValueScales + kPageKeys * kBlock;  // bytes

// What is smaller than this, of numbers around 1, is dropped before it is made an integer: its reciprocal must be finite.
constexpr float kLeastWeight = 1e-30F;

// Byte offsets: of the scale; of channel c of the block, at first + c / 2 * apart + c % 2 * beside.
struct BytePlace {
  int64_t scale, first, apart, beside;
  constexpr int64_t of(int64_t c) const { return first + c / 2 * apart + c % 2 * beside; }
};

// Block `block` of key j of a page with `blocks` blocks.
constexpr BytePlace key_place(int64_t j, int64_t block, int64_t blocks) {
  const int64_t at = (j / kGroupKeys * blocks + block) * kKeyBlock, lane = j % kGroupKeys;
  return {at + lane * 2, at + kKeyScales + lane * 2, kGroupKeys * 2, 1};
}

constexpr BytePlace value_place(int64_t j, int64_t block) {
  const int64_t at = block * kValueBlock;
  return {at + j * 2, at + kValueScales + j / 2 * (kBlock * 2) + j % 2, 4, 2};
}

}  // namespace
}  // namespace gemlet::kernels
