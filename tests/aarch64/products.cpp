// Products with weights: matrix-vector kernels, panels and float dots, every format, against the scalar set.
#include <algorithm>
#include <cstddef>

#include "compare.h"
#include "ops/ops.h"

namespace gemlet::checks {
namespace {

const std::vector<const char*> kFast = {"Q4_0", "Q5_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"};
const std::vector<const char*> kOthers = {"F32", "F16", "BF16", "Q4_1", "Q2_K", "Q3_K", "IQ4_NL", "MXFP4"};

// Byte offsets of a block's binary16 scales; -1: none.
std::vector<int> halves_of(const std::string& kind) {
  if (kind == "Q4_K" || kind == "Q5_K" || kind == "Q4_1") return {0, 2};
  if (kind == "Q6_K") return {208};
  if (kind == "Q2_K") return {80, 82};
  if (kind == "Q3_K") return {108};
  if (kind == "MXFP4") return {};
  return {0};
}

struct Weights {
  std::vector<uint8_t> bytes;
  codec::Matrix matrix;
  codec::Matrix first(int64_t rows) const {
    codec::Matrix some = matrix;
    some.rows = rows;
    return some;
  }
};

template <class Scale>
void set_scales(Weights& w, const char* kind, Scale scale) {
  const codec::TypeInfo& info = codec::info(w.matrix.type);
  for (size_t at = 0; at < w.bytes.size(); at += info.block_bytes)
    for (const int offset : halves_of(kind)) {
      const float value = scale();
      uint16_t half = 0;
      kernels::by_name("scalar").narrow_f16(&value, 1, &half);
      std::memcpy(w.bytes.data() + at + offset, &half, 2);
    }
}

// Bytes by `byte`, no scales set.
template <class Byte>
Weights fill(const char* kind, int64_t rows, int64_t cols, Byte byte) {
  const codec::TypeInfo& info = *codec::find(kind);
  Weights w;
  w.matrix = {nullptr, info.type, rows, cols, codec::row_bytes(info.type, cols)};
  w.bytes.resize(static_cast<size_t>(rows) * w.matrix.row_bytes);
  w.matrix.data = w.bytes.data();
  for (uint8_t& b : w.bytes) b = byte();
  return w;
}

Weights random_weights(const char* kind, int64_t rows, int64_t cols, Random& random) {
  Weights w = fill(kind, rows, cols, [&] { return static_cast<uint8_t>(random.below(256)); });
  const codec::TypeInfo& info = codec::info(w.matrix.type);
  if (info.block > 1) {
    set_scales(w, kind, [&] { return random.normal() * 0.01F; });
    if (info.type == codec::Type::MXFP4)  // one byte of exponent a block
      for (size_t at = 0; at < w.bytes.size(); at += info.block_bytes)
        w.bytes[at] = static_cast<uint8_t>(random.from(120, 130));
    return w;
  }
  for (size_t i = 0; i < static_cast<size_t>(rows * cols); ++i) {
    const float value = random.normal();
    uint32_t bits = 0;
    std::memcpy(&bits, &value, 4);
    uint16_t half = static_cast<uint16_t>(bits >> 16);
    if (info.type == codec::Type::F16) kernels::by_name("scalar").narrow_f16(&value, 1, &half);
    if (info.block_bytes == 4)
      std::memcpy(w.bytes.data() + 4 * i, &value, 4);
    else
      std::memcpy(w.bytes.data() + 2 * i, &half, 2);
  }
  return w;
}

// x (tokens, K) . w^T
Floats product(const kernels::Table& table, const codec::Matrix& w, const float* x, int64_t tokens, bool floats) {
  static const Team team(1);
  ops::Context on(table, team, floats);
  ops::Quantised scratch;
  Floats y(static_cast<size_t>(tokens * w.rows));
  ops::linear(on, {x, tokens, w.cols}, {{&w, {y.data(), tokens, w.rows}}}, scratch);
  return y;
}

// Every set against the scalar one, all tokens together, then each of them alone.
void compare(Report& report, const Sets& sets, const std::string& what, const Weights& w, const Floats& x,
             bool floats = false) {
  const int64_t tokens = static_cast<int64_t>(x.size()) / w.matrix.cols;
  const Floats want = product(kernels::by_name("scalar"), w.matrix, x.data(), tokens, floats);
  const std::string where =
      cat(what, " (", w.matrix.rows, " x ", w.matrix.cols, ", ", codec::info(w.matrix.type).name, ")");
  for (const kernels::Table* set : sets) {
    report.same(cat(where, ", ", tokens, " tokens"), set->name, product(*set, w.matrix, x.data(), tokens, floats),
                want);
    for (int64_t t = 0; t < tokens; ++t) {
      const Floats alone = product(*set, w.matrix, x.data() + t * w.matrix.cols, 1, floats);
      report.same(cat(where, ", token ", t), set->name, alone.data(), want.data() + t * w.matrix.rows, alone.size());
    }
  }
}

void check_shapes(Report& report, const Sets& sets) {
  Random random(1);
  for (const char* kind : kFast) {
    const bool wide = codec::find(kind)->block == 256;
    for (const int64_t cols :
         wide ? std::vector<int64_t>{256, 512, 2048} : std::vector<int64_t>{32, 64, 640, 704, 2112}) {
      const Weights w = random_weights(kind, 40, cols, random);
      const Floats x = random.normals(9 * cols);
      const Floats want = product(kernels::by_name("scalar"), w.matrix, x.data(), 9, false);
      for (const kernels::Table* set : sets)
        for (const int64_t rows : {1, 2, 15, 16, 17, 33, 40})
          for (const int64_t tokens : {1, 2, 3, 5, 9}) {
            const Floats got = product(*set, w.first(rows), x.data(), tokens, false);
            for (int64_t t = 0; t < tokens; ++t)
              report.same(cat(kind, ", ", rows, " rows of ", cols, ", token ", t, " of ", tokens), set->name,
                          got.data() + t * rows, want.data() + t * 40, static_cast<size_t>(rows));
          }
    }
  }
}

void check_any_shapes(Report& report, const Sets& sets) {
  Random random(2);
  std::vector<const char*> kinds = kFast;
  kinds.insert(kinds.end(), kOthers.begin(), kOthers.end());
  for (int i = 0; i < 120; ++i) {
    const char* kind = kinds[random.below(static_cast<uint32_t>(kinds.size()))];
    const int64_t block = codec::find(kind)->block;
    const int64_t cols = block * random.from(1, block == 1 ? 200 : block == 256 ? 3 : 20);
    const Weights w = random_weights(kind, random.from(1, 36), cols, random);
    compare(report, sets, "any shape", w, random.normals(random.from(1, 6) * cols), random.below(4) == 0);
  }
  for (const char* kind : {"F32", "F16", "BF16"})
    for (const int64_t cols : {1, 7, 15, 16, 17, 33, 704}) {
      const Weights w = random_weights(kind, 7, cols, random);
      compare(report, sets, "odd widths", w, random.normals(7 * cols));
    }
}

// All bytes alike, or two kinds mixed, against activations of -127 and 127: what saturates or wraps shows here.
void check_extreme_bytes(Report& report, const Sets& sets) {
  constexpr int64_t kCols = 512;
  Random random(3);
  Floats x(6 * kCols, 1.0F);
  for (int64_t i = 0; i < kCols; ++i) {
    x[static_cast<size_t>(kCols + i)] = -1;
    if (i % 2 == 0) x[static_cast<size_t>(2 * kCols + i)] = -1;
    x[static_cast<size_t>(3 * kCols + i)] = random.below(2) == 0 ? -1.0F : 1.0F;
    if (i % 4 == 1) x[static_cast<size_t>(4 * kCols + i)] = -1;
    x[static_cast<size_t>(5 * kCols + i)] = 0;
  }
  for (const char* kind : kFast)
    for (const int bytes : {0x0000, 0xFFFF, 0x8080, 0x7F7F, 0x0F0F, 0xF0F0, 0x00FF, 0x807F}) {
      Weights w =
          fill(kind, 18, kCols, [&] { return static_cast<uint8_t>(random.below(2) == 0 ? bytes & 255 : bytes >> 8); });
      set_scales(w, kind, [] { return 1.0F; });
      compare(report, sets, cat("bytes of ", bytes & 255, " and ", bytes >> 8), w, x);
    }
  // The largest scales of half blocks with weights of -32 and of 31.
  for (const int weight : {0x00, 0xFF})
    for (const int half : {0x80, 0x7F}) {
      Weights w = fill("Q6_K", 18, kCols, [&] { return static_cast<uint8_t>(weight); });
      for (size_t at = 0; at < w.bytes.size(); at += sizeof(codec::BlockQ6_K))
        std::memset(w.bytes.data() + at + offsetof(codec::BlockQ6_K, scales), half, 16);
      set_scales(w, "Q6_K", [] { return 1.0F; });
      compare(report, sets, cat("half blocks of ", weight, " times ", half), w, x);
    }
}

void check_extreme_numbers(Report& report, const Sets& sets) {
  Random random(4);
  for (const char* kind : kFast) {
    const int64_t cols = codec::find(kind)->block == 256 ? 512 : 352;
    for (const float scale : {0.0F, -0.0F, 6e-8F, -6e-8F, 3e-5F, 65504.0F, -65504.0F, INFINITY, NAN}) {
      Weights w = random_weights(kind, 17, cols, random);
      set_scales(w, kind, [&] { return random.below(3) == 0 ? 0.01F : scale; });
      for (const float size : {1.0F, 3e38F, 1e-38F, 1e-42F}) {
        Floats x = random.normals(3 * cols);
        for (float& v : x) v = std::clamp(v, -1.0F, 1.0F) * size;
        compare(report, sets, cat("scales of ", scale, ", activations of ", size), w, x);
      }
    }
    for (const float bad : {NAN, INFINITY, -INFINITY}) {
      const Weights w = random_weights(kind, 18, cols, random);
      Floats x = random.normals(5 * cols);
      x[static_cast<size_t>(cols + 37)] = bad;
      compare(report, sets, cat("an activation of ", bad), w, x);
    }
  }
}

}  // namespace

void check_products(Report& report, const Sets& sets) {
  check_shapes(report, sets);
  check_any_shapes(report, sets);
  check_extreme_bytes(report, sets);
  check_extreme_numbers(report, sets);
}

}  // namespace gemlet::checks
