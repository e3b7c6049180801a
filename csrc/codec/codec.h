// What a quantised block is: its size in elements and bytes, and the scalar way back to float32. The oracle for kernels.
// Type numbers and layouts are GGUF's (ggml's). Knows nothing of files, shapes of models or speed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "codec/blocks.h"

namespace gemlet::codec {

struct TypeInfo {
  Type type;
  const char* name;                                                  // as GGUF tools print it: "Q4_K"
  int64_t block;                                                     // elements in a block
  size_t block_bytes;                                                // bytes of a block
  void (*decode)(const uint8_t* blocks, int64_t count, float* out);  // count blocks -> count * block floats
  void (*encode)(const float* x, int64_t count, uint8_t* blocks);    // null where this project never writes the type
};

// nullptr for a type number we do not know.
const TypeInfo* find(uint32_t type);
const TypeInfo* find(const std::string& name);
// Throws UnsupportedModel for an unknown one.
const TypeInfo& info(Type type);

// Bytes of a row of `cols` elements. Throws BadArgument if cols is no multiple of the block.
size_t row_bytes(Type type, int64_t cols);

// A weight as it lies in the file: rows x cols, each row a whole number of blocks. Owns nothing.
struct Matrix {
  const uint8_t* data = nullptr;
  Type type = Type::F32;
  int64_t rows = 0, cols = 0;
  size_t row_bytes = 0;
  const uint8_t* row(int64_t r) const { return data + static_cast<size_t>(r) * row_bytes; }
  explicit operator bool() const { return data != nullptr; }
};

// out (cols) <- row r of m.
void decode_row(const Matrix& m, int64_t r, float* out);

}  // namespace gemlet::codec
