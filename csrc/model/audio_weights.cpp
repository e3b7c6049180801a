// Names of the projector's file -> AudioWeights.
#include "model/audio_weights.h"

#include <cmath>
#include <numbers>
#include <string>

#include "core/error.h"

namespace gemlet::model {
namespace {

using formats::TensorInfo;

class Reader {
 public:
  Reader(const AudioFile& file, AudioWeights& into) : file_(file), into_(into) {}

  const TensorInfo& find(const std::string& name, size_t dimensions) {
    const TensorInfo* tensor = file_.tensor(name);
    if (tensor == nullptr) refuse(name, "it is missing; the file is incomplete");
    if (codec::info(tensor->type).decode == nullptr)
      throw UnsupportedModel(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': type ",
                                 codec::info(tensor->type).name, " cannot be a weight"));
    if (dimensions > 0 && tensor->shape.size() != dimensions)
      refuse(name, cat("expected ", dimensions, " dimensions, got ", text(*tensor)));
    into_.parameters += elements(*tensor);
    return *tensor;
  }

  codec::Matrix matrix(const std::string& name, int64_t rows, int64_t cols) {
    const TensorInfo& tensor = find(name, 2);
    if (tensor.shape[0] != rows || tensor.shape[1] != cols)
      refuse(name, cat("expected (", rows, ", ", cols, "), got ", text(tensor)));
    return {tensor.data, tensor.type, rows, cols, codec::row_bytes(tensor.type, cols)};
  }

  // However many dimensions they are spread over.
  float* vector(const std::string& name, int64_t size) {
    const TensorInfo& tensor = find(name, 0);
    if (elements(tensor) != size) refuse(name, cat("expected (", size, "), got ", text(tensor)));
    float* values = room(size);
    codec::decode_row({tensor.data, tensor.type, 1, size, codec::row_bytes(tensor.type, size)}, 0, values);
    return values;
  }

  // (rows, cols) -> (cols, rows)
  const float* turned(const std::string& name, int64_t rows, int64_t cols) {
    const float* from = vector(name, rows * cols);
    float* to = room(rows * cols);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) to[c * rows + r] = from[r * cols + c];
    return to;
  }

  // (out, in, 3, 3) as a matrix (out, 9 in): time, frequency, then maps.
  codec::Matrix convolution(const std::string& name, int64_t out, int64_t in) {
    const float* from = vector(name, out * in * 9);
    float* to = room(out * in * 9);
    for (int64_t o = 0; o < out; ++o)
      for (int64_t i = 0; i < in; ++i)
        for (int64_t k = 0; k < 9; ++k) to[(o * 9 + k) * in + i] = from[(o * in + i) * 9 + k];
    const auto bytes = static_cast<size_t>(9 * in) * sizeof(float);
    return {reinterpret_cast<const uint8_t*>(to), codec::Type::F32, out, 9 * in, bytes};
  }

  ClippedWeight clipped(const std::string& name, int64_t rows, int64_t cols, bool bounds) {
    ClippedWeight m{matrix(name + ".weight", rows, cols), {}, {}};
    if (!bounds) return m;
    m.in = {bound(name + ".input_min", m.in.low), bound(name + ".input_max", m.in.high)};
    m.out = {bound(name + ".output_min", m.out.low), bound(name + ".output_max", m.out.high)};
    return m;
  }

  int64_t size(const std::string& name, size_t dimensions, bool last = false) {
    const int64_t before = into_.parameters;
    const std::vector<int64_t>& shape = find(name, dimensions).shape;
    const int64_t n = shape.empty() ? 0 : last ? shape.back() : shape.front();
    into_.parameters = before;  // it is read again
    if (n < 1 || n > kMost) refuse(name, cat("expected 1 to ", kMost, " values each way, got ", n));
    return n;
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const {
    throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': ", problem));
  }

 private:
  static constexpr int64_t kMost = 1 << 20;
  static std::string text(const TensorInfo& tensor) {
    std::string s;
    for (const int64_t n : tensor.shape) s += cat(s.empty() ? "(" : ", ", n);
    return s.empty() ? "()" : s + ")";
  }
  static int64_t elements(const TensorInfo& tensor) {
    int64_t n = 1;
    for (const int64_t size : tensor.shape) n *= size;
    return n;
  }
  float bound(const std::string& name, float otherwise) {
    if (file_.tensor(name) == nullptr) return otherwise;
    const float value = *vector(name, 1);
    if (std::isnan(value)) refuse(name, "expected a number, got NaN");
    return value;
  }
  float* room(int64_t size) {
    into_.vectors.emplace_back(new float[static_cast<size_t>(size)]);
    return into_.vectors.back().get();
  }

  const AudioFile& file_;
  AudioWeights& into_;
};

AudioFeedForward read_feed_forward(Reader& read, const std::string& p, const std::string& end, const AudioConfig& c) {
  AudioFeedForward f{};
  f.up = read.clipped(p + "ffn_up" + end, c.ffn, c.width, c.clipped);
  f.down = read.clipped(p + "ffn_down" + end, c.width, c.ffn, c.clipped);
  f.norm = read.vector(p + "ffn_norm" + end + ".weight", c.width);
  float* post = read.vector(p + "ffn_post_norm" + end + ".weight", c.width);
  for (int64_t i = 0; i < c.width; ++i) post[i] *= c.residual;
  f.post_norm = post;
  return f;
}

// What queries are multiplied by: 1 / (sqrt(C) ln 2), and softplus of a weight for each channel.
const float* read_scale(Reader& read, const std::string& name, const AudioFile& file, const AudioConfig& c) {
  const int64_t channels = c.width / c.heads;
  float* scale = read.vector(name, channels);
  const double factor = 1 / (std::sqrt(static_cast<double>(channels)) * std::numbers::ln2);
  for (int64_t i = 0; i < channels; ++i) {
    const double w = scale[i];
    const double soft = file.scales_are_softplus() ? w : w > 20 ? w : std::log1p(std::exp(w));
    scale[i] = static_cast<float>(factor * soft);
  }
  return scale;
}

AudioLayer read_layer(Reader& read, int64_t index, const AudioFile& file, const AudioConfig& c) {
  const std::string p = cat("a.blk.", index, ".");
  const int64_t d = c.width;
  AudioLayer l{};
  l.first = read_feed_forward(read, p, "", c);
  l.second = read_feed_forward(read, p, "_1", c);
  l.q = read.clipped(p + "attn_q", d, d, c.clipped);
  l.k = read.clipped(p + "attn_k", d, d, c.clipped);
  l.v = read.clipped(p + "attn_v", d, d, c.clipped);
  l.o = read.clipped(p + "attn_out", d, d, c.clipped);
  l.relative = read.matrix(p + "attn_k_rel.weight", d, d);
  l.q_scale = read_scale(read, p + "per_dim_scale.weight", file, c);
  l.attn_norm = read.vector(p + "attn_pre_norm.weight", d);
  l.attn_post_norm = read.vector(p + "attn_post_norm.weight", d);
  l.conv_in = read.clipped(p + "conv_pw1", 2 * d, d, c.clipped);
  l.conv_out = read.clipped(p + "conv_pw2", d, d, c.clipped);
  l.taps = read.turned(p + "conv_dw.weight", d, c.taps);
  l.conv_norm = read.vector(p + "conv_norm.weight", d);
  l.conv_mid_norm = read.vector(p + "norm_conv.weight", d);
  l.norm = read.vector(p + "ln2.weight", d);
  return l;
}

}  // namespace

AudioWeights AudioWeights::from(const AudioFile& file, AudioConfig& c) {
  AudioWeights w;
  Reader read(file, w);
  const std::string projection = "mm.a.input_projection.weight";
  c.out = read.size(projection, 2);
  if (!c.encoder) {
    w.projection = read.matrix(projection, c.out, c.frame);
    return w;
  }
  c.maps[0] = read.size("a.conv1d.0.weight", 4);
  c.maps[1] = read.size("a.conv1d.1.weight", 4);
  c.middle = read.size("a.pre_encode.out.weight", 2);
  c.taps = read.size("a.blk.0.conv_dw.weight", 0, true);
  w.conv0 = read.turned("a.conv1d.0.weight", c.maps[0], 9);
  w.conv1 = read.convolution("a.conv1d.1.weight", c.maps[1], c.maps[0]);
  w.conv0_norm = read.vector("a.conv1d.0.norm.weight", c.maps[0]);
  w.conv1_norm = read.vector("a.conv1d.1.norm.weight", c.maps[1]);
  w.input = read.matrix("a.input_projection.weight", c.width, c.frame / 4 * c.maps[1]);
  for (int64_t i = 0; i < c.layers; ++i) w.layers.push_back(read_layer(read, i, file, c));
  w.output = read.matrix("a.pre_encode.out.weight", c.middle, c.width);
  w.output_bias = read.vector("a.pre_encode.out.bias", c.middle);
  w.projection = read.matrix(projection, c.out, c.middle);
  return w;
}

}  // namespace gemlet::model
