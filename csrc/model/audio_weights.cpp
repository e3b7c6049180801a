// Names of the projector's file -> AudioWeights.
#include "model/audio_weights.h"

#include <cmath>
#include <numbers>
#include <string>

#include "core/error.h"

namespace gemlet::model {
namespace {

using formats::TensorInfo;

constexpr int64_t kMost = 1 << 20;

// (rows, cols) -> (cols, rows)
const float* turned(TowerReader& read, const std::string& name, int64_t rows, int64_t cols) {
  const float* from = read.vector(name, rows * cols);
  float* to = read.room(rows * cols);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) to[c * rows + r] = from[r * cols + c];
  return to;
}

// (out, in, 3, 3) as a matrix (out, 9 in): time, frequency, then maps.
codec::Matrix convolution(TowerReader& read, const std::string& name, int64_t out, int64_t in) {
  const float* from = read.vector(name, out * in * 9);
  float* to = read.room(out * in * 9);
  for (int64_t o = 0; o < out; ++o)
    for (int64_t i = 0; i < in; ++i)
      for (int64_t k = 0; k < 9; ++k) to[(o * 9 + k) * in + i] = from[(o * in + i) * 9 + k];
  const auto bytes = static_cast<size_t>(9 * in) * sizeof(float);
  return {reinterpret_cast<const uint8_t*>(to), codec::Type::F32, out, 9 * in, bytes};
}

// The first or last of a tensor's sizes, before anything of that size is read. dimensions: 0 for any number of them.
int64_t size_of(TowerReader& read, AudioWeights& w, const std::string& name, size_t dimensions, bool last = false) {
  const int64_t before = w.parameters;
  const TensorInfo& tensor = read.find(name);
  w.parameters = before;  // it is read again
  if (dimensions > 0 && tensor.shape.size() != dimensions)
    read.refuse(name, cat("expected ", dimensions, " dimensions, got ", TowerReader::text(tensor)));
  const int64_t n = tensor.shape.empty() ? 0 : last ? tensor.shape.back() : tensor.shape.front();
  if (n < 1 || n > kMost) read.refuse(name, cat("expected 1 to ", kMost, " values each way, got ", n));
  return n;
}

AudioFeedForward read_feed_forward(TowerReader& read, const std::string& p, const std::string& end,
                                   const AudioConfig& c) {
  AudioFeedForward f{};
  f.up = read.clipped<ClippedWeight>(p + "ffn_up" + end, c.ffn, c.width, c.clipped);
  f.down = read.clipped<ClippedWeight>(p + "ffn_down" + end, c.width, c.ffn, c.clipped);
  f.norm = read.vector(p + "ffn_norm" + end + ".weight", c.width);
  float* post = read.vector(p + "ffn_post_norm" + end + ".weight", c.width);
  for (int64_t i = 0; i < c.width; ++i) post[i] *= c.residual;
  f.post_norm = post;
  return f;
}

// What queries are multiplied by: 1 / (sqrt(C) ln 2), and softplus of a weight for each channel.
const float* read_scale(TowerReader& read, const std::string& name, const AudioFile& file, const AudioConfig& c) {
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

AudioLayer read_layer(TowerReader& read, int64_t index, const AudioFile& file, const AudioConfig& c) {
  const std::string p = cat("a.blk.", index, ".");
  const int64_t d = c.width;
  AudioLayer l{};
  l.first = read_feed_forward(read, p, "", c);
  l.second = read_feed_forward(read, p, "_1", c);
  l.q = read.clipped<ClippedWeight>(p + "attn_q", d, d, c.clipped);
  l.k = read.clipped<ClippedWeight>(p + "attn_k", d, d, c.clipped);
  l.v = read.clipped<ClippedWeight>(p + "attn_v", d, d, c.clipped);
  l.o = read.clipped<ClippedWeight>(p + "attn_out", d, d, c.clipped);
  l.relative = read.matrix(p + "attn_k_rel.weight", d, d);
  l.q_scale = read_scale(read, p + "per_dim_scale.weight", file, c);
  l.attn_norm = read.vector(p + "attn_pre_norm.weight", d);
  l.attn_post_norm = read.vector(p + "attn_post_norm.weight", d);
  l.conv_in = read.clipped<ClippedWeight>(p + "conv_pw1", 2 * d, d, c.clipped);
  l.conv_out = read.clipped<ClippedWeight>(p + "conv_pw2", d, d, c.clipped);
  l.taps = turned(read, p + "conv_dw.weight", d, c.taps);
  l.conv_norm = read.vector(p + "conv_norm.weight", d);
  l.conv_mid_norm = read.vector(p + "norm_conv.weight", d);
  l.norm = read.vector(p + "ln2.weight", d);
  return l;
}

}  // namespace

AudioWeights AudioWeights::from(const AudioFile& file, AudioConfig& c) {
  AudioWeights w;
  TowerReader read(file, w.vectors, w.parameters);
  const std::string projection = "mm.a.input_projection.weight";
  c.out = size_of(read, w, projection, 2);
  if (!c.encoder) {
    w.projection = read.matrix(projection, c.out, c.frame);
    return w;
  }
  c.maps[0] = size_of(read, w, "a.conv1d.0.weight", 4);
  c.maps[1] = size_of(read, w, "a.conv1d.1.weight", 4);
  c.middle = size_of(read, w, "a.pre_encode.out.weight", 2);
  c.taps = size_of(read, w, "a.blk.0.conv_dw.weight", 0, true);
  w.conv0 = turned(read, "a.conv1d.0.weight", c.maps[0], 9);
  w.conv1 = convolution(read, "a.conv1d.1.weight", c.maps[1], c.maps[0]);
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
