// Gemma 3's text model, in the order the reference tells it (transformers, models/gemma3/modeling_gemma3.py).
// Letters: T new tokens, S cached tokens, D width, H heads, K key/value heads, C channels per head, F feed-forward,
// V vocabulary. Norm weights in GGUF already hold the reference's 1 + w.
#include "model/decoder.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace gemlet::model {
namespace {

// Where the rows stand and which keys they see, [begin, end), for each kind of layer; and their rotations.
void place(ops::Context& on, const Config& c, State& s) {
  s.begin_sliding.clear(), s.begin_full.assign(s.positions.size(), 0), s.end.clear();
  for (const int64_t position : s.positions) {
    s.begin_sliding.push_back(
        std::max<int64_t>(0, position - c.window + 1));  // exactly `window` keys, its own included
    s.end.push_back(position + 1);
  }
  const auto count = static_cast<int64_t>(s.positions.size());
  s.rope_sliding.fill(on, c.rope_sliding, s.positions.data(), count);
  s.rope_full.fill(on, c.rope_full, s.positions.data(), count);
}

// From here on only rows `wanted` of x and h go on.
void narrow(ops::Context& on, const Config& c, const std::vector<int64_t>& wanted, State& s, Rows<float>& x,
            Rows<float>& h) {
  std::vector<int64_t> positions;
  for (size_t r = 0; r < wanted.size(); ++r) {
    const auto to = static_cast<int64_t>(r);
    std::memmove(x.row(to), x.row(wanted[r]), static_cast<size_t>(x.cols) * sizeof(float));
    std::memmove(h.row(to), h.row(wanted[r]), static_cast<size_t>(h.cols) * sizeof(float));
    positions.push_back(s.positions[static_cast<size_t>(wanted[r])]);
  }
  x.rows = h.rows = static_cast<int64_t>(wanted.size());
  s.positions = std::move(positions);
  place(on, c, s);
}

// k, v = k_norm(k_proj(h)) rotated, v_proj(h), into the cache; with them, where q is given, q = q_proj(h).
void keys_and_values(ops::Context& on, const Config& c, size_t index, const Layer& l, KvCache& kv, State& s,
                     Rows<const float> h, const Rows<float>* q) {
  const LayerConfig& size = c.layers[index];
  const Rows<float> k = s.k.rows(h.rows, size.kv_heads * size.channels);
  const Rows<float> v = s.v.rows(h.rows, size.kv_heads * size.channels);
  if (q != nullptr)
    ops::linear(on, h, {{&l.attn_q, *q}, {&l.attn_k, k}, {&l.attn_v, v}}, s.quantised);
  else
    ops::linear(on, h, {{&l.attn_k, k}, {&l.attn_v, v}}, s.quantised);
  ops::head_norm(on, k, size.channels, l.attn_k_norm, c.eps);
  ops::rope(on, size.sliding ? s.rope_sliding : s.rope_full, k, size.channels);
  kv.store(on, index, k, v);
}

// h (T, D) <- o_proj(softmax(q k^T * scaling + mask) v), q = q_norm(q) rotated.
void attend(ops::Context& on, const Config& c, size_t index, const Layer& l, const KvCache& kv, State& s, Rows<float> q,
            Rows<float> h) {
  const LayerConfig& size = c.layers[index];
  ops::head_norm(on, q, size.channels, l.attn_q_norm, c.eps);
  ops::rope(on, size.sliding ? s.rope_sliding : s.rope_full, q, size.channels);
  const Rows<float> heads = s.heads.rows(q.rows, q.cols);
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
  for (const Buffer<float>* b :
       {&x, &h, &q, &k, &v, &heads, &gate, &up, &rope_sliding.cos, &rope_sliding.sin, &rope_full.cos, &rope_full.sin})
    total += b->bytes();
  return total;
}

Decoder::Decoder(std::shared_ptr<const formats::Gguf> file)
    : file_(std::move(file)), config_(Config::from(*file_)), weights_(Weights::from(*file_, config_)) {}

Rows<const float> Decoder::forward(ops::Context& on, const int32_t* ids, int64_t count,
                                   const std::vector<int64_t>& wanted, KvCache& kv, State& s, const Tap& tap) const {
  const Config& c = config_;
  kv.extend(count);
  s.positions.resize(static_cast<size_t>(count));
  std::iota(s.positions.begin(), s.positions.end(), kv.length());
  place(on, c, s);
  Rows<float> x = s.x.rows(count, c.width), h = s.h.rows(count, c.width);

  ops::embed(on, weights_.token_embd, ids, c.embedding_scale, x);  // x (T, D) = embed_tokens(ids) * sqrt(D)
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const Layer& l = weights_.layers[i];
    const LayerConfig& size = c.layers[i];
    // 1. attention: x += post_attention_layernorm(attention(input_layernorm(x)))
    ops::norm(on, x, l.attn_norm, c.eps, h);
    Rows<float> q = s.q.rows(count, size.heads * size.channels);
    const bool last_for_most = i + 1 == weights_.layers.size() && static_cast<int64_t>(wanted.size()) < count;
    keys_and_values(on, c, i, l, kv, s, h, last_for_most ? nullptr : &q);
    if (last_for_most) {
      narrow(on, c, wanted, s, x, h);
      if (x.rows == 0) break;
      q.rows = x.rows;
      ops::linear(on, h, {{&l.attn_q, q}}, s.quantised);
    }
    attend(on, c, i, l, kv, s, q, h);
    ops::add_norm(on, h, l.post_attention_norm, c.eps, x);
    // 2. feed-forward: x += post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x)))
    ops::norm(on, x, l.ffn_norm, c.eps, h);
    feed_forward(on, size, l, s, h);
    ops::add_norm(on, h, l.post_ffw_norm, c.eps, x);
    if (tap) tap("layer_out", static_cast<int>(i), x);
  }
  kv.commit(count);
  ops::norm(on, x, weights_.output_norm, c.eps, h);
  return h;
}

void Decoder::head(ops::Context& on, Rows<const float> h, Rows<float> logits, State& s) const {
  ops::linear(on, h, {{&weights_.output, logits}}, s.quantised);
  if (config_.logit_cap > 0) ops::softcap(on, config_.logit_cap, logits);
}

void Decoder::head_rows(ops::Context& on, Rows<const float> h, const std::vector<int32_t>& ids, float* out,
                        State& s) const {
  ops::linear_rows(on, h, weights_.output, ids, out, s.quantised);
  if (config_.logit_cap > 0) ops::softcap(on, config_.logit_cap, {out, 1, static_cast<int64_t>(ids.size())});
}

}  // namespace gemlet::model
