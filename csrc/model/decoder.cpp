// Gemma 3's text model, in the order the reference tells it (transformers, models/gemma3/modeling_gemma3.py).
// Letters: T new tokens, S cached tokens, D width, H heads, K key/value heads, C channels per head, F feed-forward,
// V vocabulary. Norm weights in GGUF already hold the reference's 1 + w.
#include "model/decoder.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace gemlet::model {
namespace {

// Where each new token stands and which keys it sees: [begin, end), per kind of layer.
void place(const Config& c, int64_t first, int64_t count, State& s) {
  s.positions.resize(static_cast<size_t>(count));
  s.begin_sliding.resize(s.positions.size());
  s.begin_full.assign(s.positions.size(), 0);
  s.end.resize(s.positions.size());
  for (size_t t = 0; t < s.positions.size(); ++t) {
    const int64_t position = first + static_cast<int64_t>(t);
    s.positions[t] = position;
    s.begin_sliding[t] = std::max<int64_t>(0, position - c.window + 1);   // exactly `window` keys, its own included
    s.end[t] = position + 1;
  }
}

// h (T, D) <- attention(h). The cache holds keys after norm and rotation.
void attention(ops::Context& on, const Config& c, size_t index, const Layer& l, KvCache& kv, State& s, Rows<float> h) {
  const LayerConfig& size = c.layers[index];
  const ops::RopeTable& rope = size.sliding ? s.rope_sliding : s.rope_full;
  const Rows<float> q = s.q.rows(h.rows, size.heads * size.channels);
  const Rows<float> k = s.k.rows(h.rows, size.kv_heads * size.channels);
  const Rows<float> v = s.v.rows(h.rows, size.kv_heads * size.channels);
  // q, k, v = q_proj(h), k_proj(h), v_proj(h)
  ops::linear(on, h, {{&l.attn_q, q}, {&l.attn_k, k}, {&l.attn_v, v}}, s.quantised);
  // q, k = apply_rotary_pos_emb(q_norm(q), k_norm(k), cos, sin)
  ops::head_norm(on, q, size.channels, l.attn_q_norm, c.eps);
  ops::head_norm(on, k, size.channels, l.attn_k_norm, c.eps);
  ops::rope(on, rope, q, size.channels);
  ops::rope(on, rope, k, size.channels);
  kv.store(on, index, k, v);
  // softmax(q k^T * scaling + mask) v, then o_proj
  const Rows<float> heads = s.heads.rows(h.rows, size.heads * size.channels);
  const std::vector<int64_t>& begin = size.sliding ? s.begin_sliding : s.begin_full;
  ops::attention(on, q, kv.pages(index), begin.data(), s.end.data(), c.attention_scale, heads);
  ops::linear(on, heads, {{&l.attn_output, h}}, s.quantised);
}

// h (T, D) <- down_proj(gelu(gate_proj(h)) * up_proj(h))
void feed_forward(ops::Context& on, const LayerConfig& size, const Layer& l, State& s, Rows<float> h) {
  const Rows<float> gate = s.gate.rows(h.rows, size.ffn), up = s.up.rows(h.rows, size.ffn);
  ops::linear(on, h, {{&l.ffn_gate, gate}, {&l.ffn_up, up}}, s.quantised);
  ops::gelu_mul(on, gate, up);
  ops::linear(on, gate, {{&l.ffn_down, h}}, s.quantised);
}

}  // namespace

size_t State::bytes() const {
  size_t total = quantised.bytes();
  for (const Buffer<float>* b : {&x, &h, &q, &k, &v, &heads, &gate, &up, &wanted, &rope_sliding.cos, &rope_sliding.sin,
                                 &rope_full.cos, &rope_full.sin})
    total += b->bytes();
  return total;
}

Decoder::Decoder(std::shared_ptr<const formats::Gguf> file)
    : file_(std::move(file)), config_(Config::from(*file_)), weights_(Weights::from(*file_, config_)) {}

void Decoder::forward(ops::Context& on, const int32_t* ids, int64_t count, KvCache& kv, State& s,
                      const Tap& tap) const {
  const Config& c = config_;
  kv.extend(count);
  place(c, kv.length(), count, s);
  s.rope_sliding.fill(on, c.rope_sliding, s.positions.data(), count);
  s.rope_full.fill(on, c.rope_full, s.positions.data(), count);
  const Rows<float> x = s.x.rows(count, c.width), h = s.h.rows(count, c.width);

  ops::embed(on, weights_.token_embd, ids, c.embedding_scale, x);   // x (T, D) = embed_tokens(ids) * sqrt(D)
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const Layer& l = weights_.layers[i];
    // 1. attention: x += post_attention_layernorm(attention(input_layernorm(x)))
    ops::norm(on, x, l.attn_norm, c.eps, h);
    attention(on, c, i, l, kv, s, h);
    ops::add_norm(on, h, l.post_attention_norm, c.eps, x);
    // 2. feed-forward: x += post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)))
    ops::norm(on, x, l.ffn_norm, c.eps, h);
    feed_forward(on, c.layers[i], l, s, h);
    ops::add_norm(on, h, l.post_ffw_norm, c.eps, x);
    if (tap) tap("layer_out", static_cast<int>(i), x);
  }
  kv.commit(count);
}

Rows<const float> Decoder::final_norm(ops::Context& on, const std::vector<int64_t>& wanted, State& s) const {
  const auto rows = static_cast<int64_t>(wanted.size());
  const Rows<float> h = s.wanted.rows(rows, config_.width);
  for (int64_t r = 0; r < rows; ++r)
    std::memcpy(h.row(r), s.x.data() + wanted[static_cast<size_t>(r)] * config_.width,
                static_cast<size_t>(config_.width) * sizeof(float));
  ops::norm(on, h, weights_.output_norm, config_.eps, h);
  return h;
}

void Decoder::head(ops::Context& on, Rows<const float> h, Rows<float> logits, State& s) const {
  ops::linear(on, h, {{&weights_.output, logits}}, s.quantised);
  if (config_.logit_cap > 0) ops::softcap(on, config_.logit_cap, logits);
}

}  // namespace gemlet::model
