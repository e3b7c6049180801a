// Names -> WhisperWeights; a row of any stored type -> floats -> what will be multiplied.
#include "model/whisper_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>

#include "codec/half.h"
#include "core/error.h"

namespace gemlet::model {
namespace {

using Type = WhisperTensor::Type;

constexpr int64_t kEight = 32;  // weights of a block of 8 bits
constexpr int64_t kRowsPerTask = 64;

size_t width_of(Type type) { return type == Type::F32 ? 4 : type == Type::I8 ? 1 : 2; }

template <class T>
T load(const uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

class Reader {
 public:
  Reader(const WhisperFile& file, ops::Context& on, bool quick, WhisperWeights& into)
      : file_(file), on_(on), quick_(quick), into_(into) {}

  WhisperTensor find(const std::string& name, const std::vector<int64_t>& shape) {
    const WhisperTensor t = file_.tensor(name);
    if (!t) refuse(name, "it is missing; the file is no whole Whisper model");
    if (t.shape != shape) refuse(name, cat("expected ", text(shape), ", got ", text(t.shape)));
    int64_t n = 1;
    for (const int64_t size : shape) n *= size;
    into_.parameters += n;
    return t;
  }

  const float* vector(const std::string& name, const std::vector<int64_t>& shape) {
    const WhisperTensor t = find(name, shape);
    const int64_t rows = shape.front(), cols = shape.size() > 1 ? shape[1] : 1;
    float* values = room(rows * cols);
    for (int64_t r = 0; r < rows; ++r) row(name, t, r, cols, values + r * cols);
    return values;
  }

  WhisperNorm norm(const std::string& name, int64_t width) {
    return {vector(name + ".weight", {width}), vector(name + ".bias", {width})};
  }

  // eight: in 8 bits, if its width allows it.
  codec::Matrix matrix(const std::string& name, int64_t rows, int64_t cols, bool eight) {
    const WhisperTensor t = find(name, {rows, cols});
    if (eight && cols % kEight == 0) return packed(name, t, rows, cols);
    const bool even = reinterpret_cast<uintptr_t>(t.data) % width_of(t.type) == 0;
    if (even && (t.type == Type::F32 || t.type == Type::F16 || t.type == Type::BF16)) {
      const codec::Type type = t.type == Type::F32   ? codec::Type::F32
                               : t.type == Type::F16 ? codec::Type::F16
                                                     : codec::Type::BF16;
      return {t.data, type, rows, cols, codec::row_bytes(type, cols)};
    }
    float* values = room(rows * cols);
    on_.team.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
      for (int64_t r = task * kRowsPerTask; r < std::min(rows, (task + 1) * kRowsPerTask); ++r)
        row(name, t, r, cols, values + r * cols);
    });
    return floats(values, rows, cols);
  }

  WhisperLinear linear(const std::string& name, int64_t rows, int64_t cols, bool bias = true) {
    const size_t kept = into_.floats.size();
    WhisperLinear l{matrix(name + ".weight", rows, cols, false), {}, nullptr};
    finish(l, kept);
    if (bias) l.bias = vector(name + ".bias", {rows});
    return l;
  }

  // (out, in, 3) as a matrix (out, 3 in): the frames one after the other.
  WhisperLinear convolution(const std::string& name, int64_t out, int64_t in) {
    const WhisperTensor t = find(name + ".weight", {out, in, 3});
    const size_t kept = into_.floats.size();
    float* to = room(out * in * 3);
    std::vector<float> from(static_cast<size_t>(in * 3));
    for (int64_t o = 0; o < out; ++o) {
      row(name, t, o, in * 3, from.data());
      for (int64_t i = 0; i < in * 3; ++i) to[o * in * 3 + i % 3 * in + i / 3] = from[static_cast<size_t>(i)];
    }
    WhisperLinear l{floats(to, out, in * 3), {}, nullptr};
    finish(l, kept);
    l.bias = vector(name + ".bias", {out});
    return l;
  }

  WhisperAttention attention(const std::string& name, int64_t width) {
    WhisperAttention a;
    a.norm = norm(name + "_layer_norm", width);
    a.q = linear(name + ".q_proj", width, width), a.k = linear(name + ".k_proj", width, width, false);
    a.v = linear(name + ".v_proj", width, width), a.out = linear(name + ".out_proj", width, width);
    return a;
  }

  WhisperLayer layer(const std::string& name, int64_t width, int64_t ffn, bool decoder) {
    WhisperLayer l;
    l.self = attention(name + ".self_attn", width);
    if (decoder) l.cross = attention(name + ".encoder_attn", width);
    l.ffn_norm = norm(name + ".final_layer_norm", width);
    l.up = linear(name + ".fc1", ffn, width), l.down = linear(name + ".fc2", width, ffn);
    return l;
  }

  bool has(const std::string& name) const { return static_cast<bool>(file_.tensor(name)); }

 private:
  static std::string text(const std::vector<int64_t>& shape) {
    std::string s;
    for (const int64_t n : shape) s += cat(s.empty() ? "(" : ", ", n);
    return s.empty() ? "()" : s + ")";
  }
  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const {
    throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': ", problem));
  }
  // In 16 bits; the floats that it was packed from go.
  void finish(WhisperLinear& l, size_t kept) {
    if (!quick_) return;
    l.wide.pack(on_, l.w);
    l.w = {};
    into_.floats.resize(kept);
  }
  float* room(int64_t size) {
    into_.floats.emplace_back(new float[static_cast<size_t>(size)]);
    return into_.floats.back().get();
  }
  static codec::Matrix floats(const float* values, int64_t rows, int64_t cols) {
    return {reinterpret_cast<const uint8_t*>(values), codec::Type::F32, rows, cols,
            static_cast<size_t>(cols) * sizeof(float)};
  }

  float scale_of(const std::string& name, const WhisperTensor& t, int64_t r) const {
    const auto scale = load<float>(t.scale + (t.scale_by_row ? static_cast<size_t>(r) * sizeof(float) : 0));
    if (!std::isfinite(scale) || scale <= 0) refuse(name, cat("expected scales above 0, got ", scale));
    return scale;
  }

  // out (cols) <- row r.
  void row(const std::string& name, const WhisperTensor& t, int64_t r, int64_t cols, float* out) const {
    const uint8_t* at = t.data + static_cast<size_t>(r * cols) * width_of(t.type);
    if (t.type == Type::F32) {
      std::memcpy(out, at, static_cast<size_t>(cols) * sizeof(float));
    } else if (t.type == Type::F16) {
      for (int64_t i = 0; i < cols; ++i) out[i] = codec::half_to_float(load<uint16_t>(at + 2 * i));
    } else if (t.type == Type::BF16) {
      for (int64_t i = 0; i < cols; ++i) out[i] = codec::bfloat_to_float(load<uint16_t>(at + 2 * i));
    } else {
      const float scale = scale_of(name, t, r);
      for (int64_t i = 0; i < cols; ++i)
        out[i] = static_cast<float>(t.type == Type::I8 ? load<int8_t>(at + i) : load<int16_t>(at + 2 * i)) / scale;
    }
  }

  // Bytes of a row stay what they are, all blocks with the row's own scale; anything else is rounded block by block.
  codec::Matrix packed(const std::string& name, const WhisperTensor& t, int64_t rows, int64_t cols) {
    const size_t row_bytes = codec::row_bytes(codec::Type::Q8_0, cols);
    Buffer<uint8_t>& buffer = into_.bytes.emplace_back();
    uint8_t* to = buffer.reserve(rows * static_cast<int64_t>(row_bytes));
    on_.team.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
      std::vector<float> values(static_cast<size_t>(cols));
      for (int64_t r = task * kRowsPerTask; r < std::min(rows, (task + 1) * kRowsPerTask); ++r) {
        uint8_t* out = to + static_cast<size_t>(r) * row_bytes;
        if (t.type == Type::I8) {
          const uint16_t scale = codec::float_to_half(1 / scale_of(name, t, r));
          const uint8_t* at = t.data + r * cols;
          for (int64_t b = 0; b < cols; b += kEight, out += sizeof(codec::BlockQ8_0), at += kEight) {
            std::memcpy(out, &scale, sizeof scale);
            std::memcpy(out + sizeof scale, at, kEight);
          }
          continue;
        }
        row(name, t, r, cols, values.data());
        codec::info(codec::Type::Q8_0).encode(values.data(), cols / kEight, out);
      }
    });
    return {to, codec::Type::Q8_0, rows, cols, row_bytes};
  }

  const WhisperFile& file_;
  ops::Context& on_;
  const bool quick_;
  WhisperWeights& into_;
};

}  // namespace

WhisperWeights WhisperWeights::from(const WhisperFile& file, ops::Context& on, bool quick) {
  const WhisperConfig& c = file.config();
  if (c.width % c.encoder_heads != 0 || c.width % c.decoder_heads != 0)
    throw BadFile(cat(file.format(), ": '", file.path(), "': expected a width that ", c.encoder_heads, " and ",
                      c.decoder_heads, " heads divide, got ", c.width));
  if (c.width / c.encoder_heads % 8 != 0 || c.width / c.decoder_heads % 8 != 0)
    throw UnsupportedModel(cat(file.format(), ": '", file.path(), "': expected heads of a multiple of 8 channels, got ",
                               c.width / c.encoder_heads, " and ", c.width / c.decoder_heads));
  if (c.places != 1500)
    throw UnsupportedModel(
        cat(file.format(), ": '", file.path(), "': expected an encoder of 1500 places, 30 seconds, got ", c.places));
  WhisperWeights w;
  Reader in(file, on, quick, w);
  w.conv1 = in.convolution("encoder.conv1", c.width, c.mels);
  w.conv2 = in.convolution("encoder.conv2", c.width, c.width);
  w.places = in.vector("encoder.embed_positions.weight", {c.places, c.width});
  for (int64_t i = 0; i < c.encoder_layers; ++i)
    w.encoder.push_back(in.layer(cat("encoder.layers.", i), c.width, c.encoder_ffn, false));
  w.encoder_norm = in.norm("encoder.layer_norm", c.width);
  w.tokens = in.matrix("decoder.embed_tokens.weight", c.vocabulary, c.width, quick);
  w.positions = in.vector("decoder.embed_positions.weight", {c.positions, c.width});
  for (int64_t i = 0; i < c.decoder_layers; ++i)
    w.decoder.push_back(in.layer(cat("decoder.layers.", i), c.width, c.decoder_ffn, true));
  w.decoder_norm = in.norm("decoder.layer_norm", c.width);
  w.head = w.tokens;
  if (in.has("proj_out.weight") &&
      file.tensor("proj_out.weight").data != file.tensor("decoder.embed_tokens.weight").data)
    w.head = in.matrix("proj_out.weight", c.vocabulary, c.width, quick);
  return w;
}

}  // namespace gemlet::model
