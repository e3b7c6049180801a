// The functions behind the table of codec.cpp, by the file that defines them. Private to this folder.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace gemlet::codec {

using Decode = void(const uint8_t* blocks, int64_t count, float* out);
using Encode = void(const float* x, int64_t count, uint8_t* blocks);

// simple.cpp: one element a block.
Decode decode_f32, decode_f16, decode_bf16;
Encode encode_f32, encode_f16, encode_bf16;

// legacy.cpp: 32 elements that share one scale, or a scale and a minimum.
Decode decode_q4_0, decode_q4_1, decode_q5_0, decode_q5_1, decode_q8_0;
Encode encode_q4_0, encode_q4_1, encode_q5_0, encode_q5_1, encode_q8_0;

// k_quants.cpp: 256 elements; the scales of 16 or 32 of them are themselves quantised.
Decode decode_q2_k, decode_q3_k, decode_q4_k, decode_q5_k, decode_q6_k;

// table_quants.cpp: four bits that index a table of sixteen values.
Decode decode_iq4_nl, decode_iq4_xs, decode_mxfp4;

// Blocks lie at any address of a file, so they are copied out, never pointed at.
template <class Block>
Block block_at(const uint8_t* blocks, int64_t i) {
  Block block;
  std::memcpy(&block, blocks + static_cast<size_t>(i) * sizeof(Block), sizeof(Block));
  return block;
}

template <class Block>
void put_block(const Block& block, uint8_t* blocks, int64_t i) {
  std::memcpy(blocks + static_cast<size_t>(i) * sizeof(Block), &block, sizeof(Block));
}

}  // namespace gemlet::codec
