// Names of the projector's file -> VisionWeights.
#include "model/vision_weights.h"

#include <string>
#include <vector>

#include "core/error.h"

namespace gemlet::model {
namespace {

using formats::TensorInfo;

// Float32, with the colours of a pixel side by side.
codec::Matrix widened(TowerReader& read, const codec::Matrix& m, bool planar) {
  float* values = read.room(m.rows * m.cols);
  std::vector<float> row(static_cast<size_t>(m.cols));
  const int64_t pixels = m.cols / 3;
  for (int64_t r = 0; r < m.rows; ++r) {
    codec::decode_row(m, r, row.data());
    for (int64_t i = 0; i < m.cols; ++i)
      values[r * m.cols + i] = planar ? row[static_cast<size_t>(i % 3 * pixels + i / 3)] : row[static_cast<size_t>(i)];
  }
  return {reinterpret_cast<const uint8_t*>(values), codec::Type::F32, m.rows, m.cols,
          static_cast<size_t>(m.cols) * sizeof(float)};
}

VisionLayer read_layer(TowerReader& read, int64_t index, const VisionConfig& c) {
  const std::string p = cat("v.blk.", index, ".");
  const int64_t d = c.width, heads = c.heads * c.channels;
  VisionLayer l{};
  l.q = read.clipped<ClippedMatrix>(p + "attn_q", heads, d, c.clipped);
  l.k = read.clipped<ClippedMatrix>(p + "attn_k", heads, d, c.clipped);
  l.v = read.clipped<ClippedMatrix>(p + "attn_v", heads, d, c.clipped);
  l.o = read.clipped<ClippedMatrix>(p + "attn_out", d, heads, c.clipped);
  l.gate = read.clipped<ClippedMatrix>(p + "ffn_gate", c.ffn, d, c.clipped);
  l.up = read.clipped<ClippedMatrix>(p + "ffn_up", c.ffn, d, c.clipped);
  l.down = read.clipped<ClippedMatrix>(p + "ffn_down", d, c.ffn, c.clipped);
  l.attn_norm = read.vector(p + "ln1.weight", d);
  l.attn_post_norm = read.vector(p + "attn_post_norm.weight", d);
  l.ffn_norm = read.vector(p + "ln2.weight", d);
  l.ffn_post_norm = read.vector(p + "ffn_post_norm.weight", d);
  l.q_norm = read.vector(p + "attn_q_norm.weight", c.channels);
  l.k_norm = read.vector(p + "attn_k_norm.weight", c.channels);
  return l;
}

void read_positions(TowerReader& read, const VisionFile& file, VisionConfig& c, VisionWeights& w) {
  const std::string name = "v.position_embd.weight";
  const TensorInfo& tensor = read.find(name);
  const size_t axis = file.axes_first() ? 0 : 1;
  if (tensor.shape.size() != 3 || tensor.shape[axis] != 2 || tensor.shape[2] != c.width)
    read.refuse(name,
                cat("expected ", axis == 0 ? "(2, n, " : "(n, 2, ", c.width, "), got ", TowerReader::text(tensor)));
  c.positions = tensor.shape[1 - axis];
  w.positions = {tensor.data, tensor.type, 2 * c.positions, c.width, codec::row_bytes(tensor.type, c.width)};
  w.axis_step = axis == 0 ? c.positions : 1, w.place_step = axis == 0 ? 1 : 2;
}

}  // namespace

VisionWeights VisionWeights::from(const VisionFile& file, VisionConfig& c) {
  VisionWeights w;
  TowerReader read(file, w.vectors, w.parameters);
  const int64_t d = c.width, pixels = 3 * (c.encoder ? c.patch * c.patch : c.side() * c.side());
  w.patches = read.matrix("v.patch_embd.weight", d, pixels);
  if (c.encoder) w.patches = widened(read, w.patches, file.planar());
  read_positions(read, file, c, w);
  if (!c.encoder) {
    w.patches_bias = read.vector("v.patch_embd.bias", d);
    for (int i = 0; i < 3; ++i) {
      const std::string name = cat("v.patch_norm.", i + 1, ".");
      w.norms[i] = {read.vector(name + "weight", i == 0 ? pixels : d), read.vector(name + "bias", i == 0 ? pixels : d)};
    }
  }
  for (int64_t i = 0; i < c.layers; ++i) w.layers.push_back(read_layer(read, i, c));
  if (read.has("v.std_scale")) {
    w.std_bias = read.vector("v.std_bias", d);
    w.std_scale = read.vector("v.std_scale", d);
  }
  const std::string projection = "mm.input_projection.weight";
  const TensorInfo& tensor = read.find(projection);
  c.out = tensor.shape.empty() ? 0 : tensor.shape[0];
  w.projection = read.matrix(projection, c.out, d);
  return w;
}

}  // namespace gemlet::model
