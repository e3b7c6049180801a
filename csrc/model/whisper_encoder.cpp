// The encoder, in the order the reference tells it (transformers, models/whisper/modeling_whisper.py): two convolutions,
// layers that see all of the 30 seconds, a norm; then the keys and values that the decoder will look at.
#include <algorithm>
#include <cmath>
#include <vector>

#include "core/error.h"
#include "model/whisper_model.h"

namespace gemlet::model {

WhisperEncoderPass::WhisperEncoderPass(const WhisperModel& model, ops::Context& on, Rows<const float> frames,
                                       WhisperEncoderScratch& scratch, Heard& heard)
    : model_(model), c_(model.config()), on_(on), s_(scratch), heard_(heard) {
  if (frames.rows < 2 || frames.rows % 2 != 0 || frames.rows > 2 * c_.places)
    throw BadArgument(cat("frames: expected an even number up to ", 2 * c_.places, ", got ", frames.rows));
  heard_.features.reserve(c_.places * c_.width);  // so that the memory serves windows of all lengths
  x_ = heard_.features.rows(frames.rows / 2, c_.width);
  heard_.places = x_.rows;
  heard_.layers.resize(model.weights().decoder.size());
  begin_.assign(static_cast<size_t>(x_.rows), 0), end_.assign(static_cast<size_t>(x_.rows), x_.rows);
  s_.frames.reserve((2 * c_.places + 2) * c_.mels);
  for (Buffer<float>* one : {&s_.h, &s_.q, &s_.k, &s_.v}) one->reserve(c_.places * c_.width);
  s_.up.reserve(std::max((2 * c_.places + 2) * c_.width, c_.places * c_.encoder_ffn));
  convolve(frames);
}

bool WhisperEncoderPass::step() {
  const WhisperWeights& w = model_.weights();
  const int64_t now = step_++, layers = c_.encoder_layers;
  if (now < layers) {
    layer(w.encoder[static_cast<size_t>(now)]);
    if (now + 1 == layers) layer_norm(on_, x_, w.encoder_norm, x_);
  } else {
    const auto i = static_cast<size_t>(now - layers);
    keep(w.decoder[i].cross, heard_.layers[i]);
  }
  return now + 1 == layers + c_.decoder_layers;
}

// x (places, D) = gelu(conv2(gelu(conv1(frames)))) + embed_positions, conv2 taking every other step: three neighbours of a
// row lie side by side in memory, so both are products of overlapping rows.
void WhisperEncoderPass::convolve(Rows<const float> frames) {
  const WhisperWeights& w = model_.weights();
  const int64_t n = frames.rows, row = c_.mels;
  float* from = s_.frames.reserve((n + 2) * row);
  std::fill(from, from + row, 0.0F);
  std::copy(frames.data, frames.data + n * row, from + row);
  std::fill(from + (n + 1) * row, from + (n + 2) * row, 0.0F);
  float* wide = s_.up.reserve((n + 2) * c_.width);
  const Rows<float> h(wide + c_.width, n, c_.width);
  multiply(on_, {from, n, 3 * row, row}, {{&w.conv1, h}}, s_.input);
  gelu_biased(on_, w.conv1.bias, h);
  std::fill(wide, wide + c_.width, 0.0F);
  std::fill(h.row(n), h.row(n) + c_.width, 0.0F);
  multiply(on_, {wide, x_.rows, 3 * c_.width, 2 * c_.width}, {{&w.conv2, x_}}, s_.input);
  gelu_biased(on_, w.conv2.bias, x_);
  on_.team.run(x_.rows, [&](int64_t t, int) { add_bias(w.places + t * c_.width, c_.width, x_.row(t)); });
}

// x += out(attention(norm(x)));  x += down(gelu(up(norm(x))))
void WhisperEncoderPass::layer(const WhisperLayer& l) {
  attend(l.self);
  const Rows<float> h = s_.h.rows(x_.rows, c_.width), up = s_.up.rows(x_.rows, c_.encoder_ffn);
  layer_norm(on_, x_, l.ffn_norm, h);
  multiply(on_, h, {{&l.up, up}}, s_.input);
  gelu_biased(on_, l.up.bias, up);
  multiply(on_, up, {{&l.down, h}}, s_.input);
  add_biased(on_, h, l.down.bias, x_);
}

void WhisperEncoderPass::attend(const WhisperAttention& a) {
  const int64_t heads = c_.encoder_heads, channels = c_.width / heads;
  const Rows<float> h = s_.h.rows(x_.rows, c_.width), q = s_.q.rows(x_.rows, c_.width);
  const Rows<float> k = s_.k.rows(x_.rows, c_.width), v = s_.v.rows(x_.rows, c_.width);
  layer_norm(on_, x_, a.norm, h);
  multiply(on_, h, {{&a.q, q}, {&a.k, k}, {&a.v, v}}, s_.input);
  const bool quick = model_.quick();
  on_.team.run(x_.rows,
               [&](int64_t t, int) { add_bias(a.q.bias, c_.width, q.row(t)), add_bias(a.v.bias, c_.width, v.row(t)); });
  if (quick)
    s_.keys.reserve(x_.rows, heads, channels, largest(v));
  else
    s_.pages.reserve(ops::KvType::F32, heads, channels, x_.rows);
  on_.team.run(x_.rows, [&](int64_t t, int) {
    if (!quick) return s_.pages.store(on_.kernels, t, k.row(t), v.row(t));
    for (int64_t n = 0; n < heads; ++n)
      s_.keys.store(on_.kernels, t, n, k.row(t) + n * channels, v.row(t) + n * channels);
  });
  if (quick)
    ops::attention(on_, q, s_.keys, attention_scale(channels), h);
  else
    ops::attention(on_, {{q, s_.pages.view(), begin_.data(), end_.data(), h}}, attention_scale(channels));
  multiply(on_, h, {{&a.out, q}}, s_.input);
  add_biased(on_, q, a.out.bias, x_);
}

// The largest magnitude, above 0.
float WhisperEncoderPass::largest(Rows<const float> x) const {
  std::vector<float> by_row(static_cast<size_t>(x.rows), 1e-30F);
  on_.team.run(x.rows, [&](int64_t t, int) {
    float& most = by_row[static_cast<size_t>(t)];
    for (int64_t i = 0; i < x.cols; ++i) most = std::max(most, std::fabs(x.row(t)[i]));
  });
  return *std::max_element(by_row.begin(), by_row.end());
}

// k, v (places, D) of one layer of the decoder.
void WhisperEncoderPass::keep(const WhisperAttention& cross, HeadPages& pages) {
  const Rows<float> k = s_.k.rows(x_.rows, c_.width), v = s_.v.rows(x_.rows, c_.width);
  multiply(on_, x_, {{&cross.k, k}, {&cross.v, v}}, s_.input);
  const ops::KvType type = model_.quick() ? ops::KvType::F16 : ops::KvType::F32;
  pages.reserve(type, c_.decoder_heads, c_.width / c_.decoder_heads, x_.rows);
  on_.team.run(x_.rows, [&](int64_t t, int) {
    add_bias(cross.v.bias, c_.width, v.row(t));
    pages.store(on_.kernels, t, k.row(t), v.row(t));
  });
}

}  // namespace gemlet::model
