// The table of types, and what follows from it alone: sizes of rows, and the decoding of one.
#include "codec/codec.h"

#include <limits>

#include "codec/families.h"
#include "core/error.h"

namespace gemlet::codec {
namespace {

constexpr TypeInfo kTypes[] = {
    {Type::F32, "F32", 1, 4, decode_f32, encode_f32},
    {Type::F16, "F16", 1, 2, decode_f16, encode_f16},
    {Type::BF16, "BF16", 1, 2, decode_bf16, encode_bf16},
    {Type::Q4_0, "Q4_0", 32, sizeof(BlockQ4_0), decode_q4_0, encode_q4_0},
    {Type::Q4_1, "Q4_1", 32, sizeof(BlockQ4_1), decode_q4_1, encode_q4_1},
    {Type::Q5_0, "Q5_0", 32, sizeof(BlockQ5_0), decode_q5_0, encode_q5_0},
    {Type::Q5_1, "Q5_1", 32, sizeof(BlockQ5_1), decode_q5_1, encode_q5_1},
    {Type::Q8_0, "Q8_0", 32, sizeof(BlockQ8_0), decode_q8_0, encode_q8_0},
    {Type::Q2_K, "Q2_K", 256, sizeof(BlockQ2_K), decode_q2_k, nullptr},
    {Type::Q3_K, "Q3_K", 256, sizeof(BlockQ3_K), decode_q3_k, nullptr},
    {Type::Q4_K, "Q4_K", 256, sizeof(BlockQ4_K), decode_q4_k, nullptr},
    {Type::Q5_K, "Q5_K", 256, sizeof(BlockQ5_K), decode_q5_k, nullptr},
    {Type::Q6_K, "Q6_K", 256, sizeof(BlockQ6_K), decode_q6_k, nullptr},
    {Type::IQ4_NL, "IQ4_NL", 32, sizeof(BlockIQ4_NL), decode_iq4_nl, nullptr},
    {Type::IQ4_XS, "IQ4_XS", 256, sizeof(BlockIQ4_XS), decode_iq4_xs, nullptr},
    {Type::MXFP4, "MXFP4", 32, sizeof(BlockMXFP4), decode_mxfp4, nullptr},
    // Known by size, so that files that hold them can be read; never weights.
    {Type::I8, "I8", 1, 1, nullptr, nullptr},
    {Type::I16, "I16", 1, 2, nullptr, nullptr},
    {Type::I32, "I32", 1, 4, nullptr, nullptr},
    {Type::I64, "I64", 1, 8, nullptr, nullptr},
    {Type::F64, "F64", 1, 8, nullptr, nullptr},
};

}  // namespace

const TypeInfo* find(uint32_t type) {
  for (const TypeInfo& t : kTypes)
    if (static_cast<uint32_t>(t.type) == type) return &t;
  return nullptr;
}

const TypeInfo* find(const std::string& name) {
  for (const TypeInfo& t : kTypes)
    if (name == t.name) return &t;
  return nullptr;
}

const TypeInfo& info(Type type) {
  const TypeInfo* found = find(static_cast<uint32_t>(type));
  if (found == nullptr) throw UnsupportedModel(cat("codec: type number ", static_cast<uint32_t>(type), " is unknown"));
  return *found;
}

size_t row_bytes(Type type, int64_t cols) {
  const TypeInfo& t = info(type);
  if (cols < 0 || cols % t.block != 0)
    throw BadArgument(
        cat("codec: expected a row of a multiple of ", t.block, " elements for ", t.name, ", got ", cols));
  const uint64_t blocks = static_cast<uint64_t>(cols / t.block);
  if (blocks > std::numeric_limits<size_t>::max() / t.block_bytes)
    throw BadArgument(cat("codec: a row of ", cols, " elements of ", t.name, " does not fit in memory"));
  return static_cast<size_t>(blocks) * t.block_bytes;
}

void decode_row(const Matrix& m, int64_t r, float* out) {
  const TypeInfo& t = info(m.type);
  if (t.decode == nullptr)
    throw UnsupportedModel(cat("codec: ", t.name, " holds no weights: expected F32, F16, BF16 or a quantised type"));
  if (r < 0 || r >= m.rows) throw BadArgument(cat("codec: expected a row of 0 to ", m.rows - 1, ", got ", r));
  t.decode(m.row(r), m.cols / t.block, out);
}

}  // namespace gemlet::codec
