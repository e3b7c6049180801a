// The text model of Gemma 3 and 4, in the order the reference tells it (transformers, models/gemma4/modeling_gemma4.py
// and models/gemma3/modeling_gemma3.py). Letters: T new tokens, S cached tokens, W wanted rows, D width, H heads, K key/
// value heads, C channels per head, F feed-forward, L layers, P per-layer channels, V vocabulary.
#include "model/decoder.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"
#include "model/checkpoint_assistant.h"
#include "model/layer.h"

namespace gemlet::model {
namespace {

Rows<float> part(Rows<float> rows, const State::Span& span) {
  return {rows.row(span.first), span.count, rows.cols, rows.stride};
}

// Where the rows stand and which keys they see in each kind of layer; and their rotations.
void place(ops::Context& on, const Config& c, State& s) {
  const size_t rows = s.positions.size();
  for (State::Sight* sight : {&s.sliding, &s.full}) sight->begin.assign(rows, 0), sight->end.resize(rows);
  for (size_t t = 0; t < rows; ++t) {
    const int64_t window = std::max<int64_t>(0, s.positions[t] - c.window + 1);  // so many keys, its own included
    const bool overlay = c.vision == VisionMask::Overlay;
    s.sliding.begin[t] = overlay ? std::min(window, s.own[t].begin) : window;
    s.sliding.end[t] = s.own[t].end;
    s.full.end[t] = overlay ? s.own[t].end : s.positions[t] + 1;
  }
  const auto count = static_cast<int64_t>(rows);
  s.rope_sliding.fill(on, c.rope_sliding, s.positions.data(), count);
  s.rope_full.fill(on, c.rope_full, s.positions.data(), count);
}

// Soft rows and blocks among the piece's tokens, which are the last rows stacked so far.
void stack_soft(const Config& c, const Piece& piece, State& s) {
  const int64_t first = piece.kv->length(), last = first + piece.count;
  const size_t row = s.ids.size() - static_cast<size_t>(piece.count);
  const auto at = [&](int64_t position) { return row + static_cast<size_t>(position - first); };
  for (const Span& span : piece.prompt->spans)
    for (int64_t p = std::max(first, span.begin); p < std::min(last, span.end()); ++p) {
      s.soft[at(p)] = span.rows.get() + (p - span.begin) * c.width;
      s.ids[at(p)] = c.pad;
    }
  for (const Block& block : piece.prompt->blocks) {
    if (block.end <= first || block.begin >= last) continue;
    if (block.begin < first || block.end > last)
      throw Error(cat("decoder: positions ", block.begin, " to ", block.end - 1,
                      " see each other and must be run together, not only ", first, " to ", last - 1));
    for (int64_t p = block.begin; p < block.end; ++p) s.own[at(p)] = block;
  }
}

// The pieces' tokens, one below the other. Returns T.
int64_t stack(const Config& c, const std::vector<Piece>& pieces, State& s) {
  s.spans.clear(), s.ids.clear(), s.positions.clear(), s.soft.clear(), s.own.clear();
  for (const Piece& piece : pieces) {
    piece.kv->extend(piece.count);
    s.spans.push_back({piece.kv, static_cast<int64_t>(s.ids.size()), piece.count});
    s.ids.insert(s.ids.end(), piece.ids, piece.ids + piece.count);
    for (int64_t t = 0; t < piece.count; ++t) {
      const int64_t position = piece.kv->length() + t;
      s.positions.push_back(position);
      s.own.push_back({position, position + 1});
    }
    s.soft.resize(s.ids.size(), nullptr);
    if (piece.prompt != nullptr) stack_soft(c, piece, s);
  }
  return static_cast<int64_t>(s.ids.size());
}

// From here on only the W wanted rows of x and h go on. Returns W.
int64_t narrow(ops::Context& on, const Config& c, const std::vector<Piece>& pieces, State& s, Rows<float>& x,
               Rows<float>& h) {
  int64_t to = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const int64_t first = s.spans[i].first;
    s.spans[i].first = to, s.spans[i].count = static_cast<int64_t>(pieces[i].wanted.size());
    for (const int64_t row : pieces[i].wanted) {
      std::memmove(x.row(to), x.row(first + row), static_cast<size_t>(x.cols) * sizeof(float));
      std::memmove(h.row(to), h.row(first + row), static_cast<size_t>(h.cols) * sizeof(float));
      s.positions[static_cast<size_t>(to)] = s.positions[static_cast<size_t>(first + row)];
      s.ids[static_cast<size_t>(to)] = s.ids[static_cast<size_t>(first + row)];
      s.soft[static_cast<size_t>(to)] = s.soft[static_cast<size_t>(first + row)];
      s.own[static_cast<size_t>(to)] = s.own[static_cast<size_t>(first + row)];
      ++to;
    }
  }
  x.rows = h.rows = to;
  s.positions.resize(static_cast<size_t>(to)), s.ids.resize(static_cast<size_t>(to));
  s.soft.resize(static_cast<size_t>(to)), s.own.resize(static_cast<size_t>(to));
  place(on, c, s);
  return to;
}

// x (T, D) = embed_tokens(ids) * sqrt(D); soft rows stand in their places as they are, not scaled.
void embed(ops::Context& on, const Config& c, const Weights& w, const State& s, Rows<float> x) {
  ops::embed(on, w.token_embd, s.ids.data(), c.embedding_scale, x);
  for (size_t t = 0; t < s.soft.size(); ++t)
    if (s.soft[t] != nullptr)
      std::memcpy(x.row(static_cast<int64_t>(t)), s.soft[t], static_cast<size_t>(x.cols) * sizeof(float));
}

// k, v = k_norm(k_proj(h)) rotated, v_norm(v_proj(h)), into the caches; with them, where q is given, q = q_proj(h).
void keys_and_values(ops::Context& on, const Config& c, size_t index, const Layer& l, State& s, Rows<const float> h,
                     const Rows<float>* q) {
  const Profile::Scope scope(on.profile, Operation::Qkv);
  const LayerConfig& size = c.layers[index];
  const Rows<float> k = s.k.rows(h.rows, size.kv_heads * size.channels);
  const Rows<float> v = s.v.rows(h.rows, size.kv_heads * size.channels);
  std::vector<ops::Product> products = {{&l.attn_k, k}};
  if (!size.keys_are_values) products.push_back({&l.attn_v, v});
  if (q != nullptr) products.push_back({&l.attn_q, *q});
  ops::linear(on, h, products, s.quantised);
  if (size.keys_are_values) ops::copy(on, k, v);  // before the key norm, and never rotated
  ops::head_norm(on, k, size.channels, l.attn_k_norm, c.eps);
  ops::rope(on, size.sliding ? s.rope_sliding : s.rope_full, k, size.channels);
  if (c.value_norm) ops::head_norm(on, v, size.channels, nullptr, c.eps);
  const Profile::Scope storing(on.profile, Operation::Store);
  for (const State::Span& span : s.spans) span.kv->store(on, index, part(k, span), part(v, span));
}

}  // namespace

void attend(ops::Context& on, const Config& c, size_t index, const Layer& l, State& s, Rows<float> q, Rows<float> h,
            const Tap& tap) {
  const LayerConfig& size = c.layers[index];
  const Profile::Scope scope(on.profile, Operation::Output);
  ops::head_norm(on, q, size.channels, l.attn_q_norm, c.eps);
  ops::rope(on, size.sliding ? s.rope_sliding : s.rope_full, q, size.channels);
  if (tap) tap("queries", static_cast<int>(index), q);
  const Rows<float> heads = s.heads.rows(q.rows, q.cols);
  const State::Sight& sight = size.sliding ? s.sliding : s.full;
  std::vector<ops::Attention> sequences;
  for (const State::Span& span : s.spans)
    if (span.count > 0)
      sequences.push_back({part(q, span), span.kv->pages(static_cast<size_t>(size.kv_source)),
                           sight.begin.data() + span.first, sight.end.data() + span.first, part(heads, span)});
  ops::attention(on, sequences, c.attention_scale);
  ops::linear(on, heads, {{&l.attn_output, h}}, s.quantised);
}

void dense(ops::Context& on, const LayerConfig& size, const Layer& l, State& s, Rows<float> h) {
  const Profile::Scope scope(on.profile, Operation::GateUp);
  const Rows<float> gate = s.gate.rows(h.rows, size.ffn), up = s.up.rows(h.rows, size.ffn);
  ops::linear(on, h, {{&l.ffn_gate, gate}, {&l.ffn_up, up}}, s.quantised);
  ops::gelu_mul(on, gate, up);
  const Profile::Scope narrowing(on.profile, Operation::Down);
  ops::linear(on, gate, {{&l.ffn_down, h}}, s.quantised);
}

namespace {

// h (T, D) <- norm_1(dense(pre_norm(x))) + norm_2(experts(pre_norm_2(x))): two branches of the same stream
void dense_and_experts(ops::Context& on, const Config& c, size_t index, const Layer& l, State& s, Rows<const float> x,
                       Rows<float> h, const Tap& tap) {
  const Rows<float> y = s.branch.rows(x.rows, x.cols);
  s.mixture.route(on, c, l, x, s.quantised);
  if (tap) {
    tap("router_experts", static_cast<int>(index), s.mixture.chosen());
    tap("router_weights", static_cast<int>(index), s.mixture.weights());
  }
  ops::norm(on, x, l.pre_ffw_norm_2, c.eps, h);
  s.mixture.experts(on, c, l, h, y, s.quantised);
  ops::norm(on, y, l.post_ffw_norm_2, c.eps, y);
  ops::norm(on, x, l.ffn_norm, c.eps, h);
  dense(on, c.layers[index], l, s, h);
  ops::norm(on, h, l.post_ffw_norm_1, c.eps, h);
  ops::add_scaled(on, y, 1.0F, 1.0F, h);
}

// h (T, D) <- per_layer_projection(gelu(per_layer_input_gate(x)) * inputs of this layer); x is not normed
void per_layer(ops::Context& on, const Config& c, size_t index, const Layer& l, State& s, Rows<const float> x,
               Rows<float> h) {
  const Rows<float> gate = s.gate.rows(x.rows, c.per_layer);
  const Profile::Scope scope(on.profile, Operation::PerLayer);
  ops::linear(on, x, {{&l.inp_gate, gate}}, s.quantised);
  ops::gelu_mul(on, gate, s.per_layer.of(static_cast<int64_t>(index)));
  ops::linear(on, gate, {{&l.proj, h}}, s.quantised);
}

}  // namespace

size_t State::bytes() const {
  size_t total = quantised.bytes() + per_layer.bytes() + mixture.bytes();
  for (const Buffer<float>* b : {&x, &h, &q, &k, &v, &heads, &gate, &up, &branch, &rope_sliding.cos, &rope_sliding.sin,
                                 &rope_full.cos, &rope_full.sin})
    total += b->bytes();
  return total;
}

Decoder::Decoder(std::shared_ptr<const Checkpoint> file, bool overlay)
    : file_(std::move(file)), config_(file_->config()) {
  expect_model(*file_);
  if (overlay && config_.vision == VisionMask::Sliding) config_.vision = VisionMask::Overlay;
  weights_ = Weights::from(*file_, config_);
}

Rows<const float> Decoder::forward(ops::Context& on, const std::vector<Piece>& pieces, State& s, const Tap& tap) const {
  const Config& c = config_;
  const auto layers = static_cast<int64_t>(c.layers.size());
  const size_t owner = c.last_owner();  // what it and later layers make of a row, no other row sees
  const int64_t count = stack(c, pieces, s);
  if (on.profile != nullptr) on.profile->count_tokens(count);
  int64_t wanted = 0;
  for (const Piece& piece : pieces) wanted += static_cast<int64_t>(piece.wanted.size());
  place(on, c, s);
  Rows<float> x = s.x.rows(count, c.width), h = s.h.rows(count, c.width);

  embed(on, c, weights_, s, x);
  s.per_layer.fill(on, c, weights_, s.ids.data(), x, 0, c.per_layer > 0 ? static_cast<int64_t>(owner) : 0, s.quantised);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const Layer& l = weights_.layers[i];
    const LayerConfig& size = c.layers[i];
    // 1. attention: x += post_attention_layernorm(attention(input_layernorm(x)))
    ops::norm(on, x, l.attn_norm, c.eps, h);
    Rows<float> q = s.q.rows(x.rows, size.heads * size.channels);
    const bool owns = size.kv_source == static_cast<int64_t>(i), narrows = i == owner && wanted < count;
    if (owns) keys_and_values(on, c, i, l, s, h, narrows ? nullptr : &q);
    if (i == owner) {
      if (narrows) q.rows = narrow(on, c, pieces, s, x, h);
      if (wanted == 0) break;
      if (c.per_layer > 0) {
        const Rows<float> x0 = s.branch.rows(x.rows, c.width);
        embed(on, c, weights_, s, x0);
        s.per_layer.fill(on, c, weights_, s.ids.data(), x0, static_cast<int64_t>(owner), layers, s.quantised);
      }
    }
    if (!owns || narrows) {
      const Profile::Scope scope(on.profile, Operation::Qkv);
      ops::linear(on, h, {{&l.attn_q, q}}, s.quantised);
    }
    attend(on, c, i, l, s, q, h, tap);
    ops::add_norm(on, h, l.post_attention_norm, c.eps, x);
    // 2. feed-forward: x += post_feedforward_layernorm(mlp(pre_feedforward_layernorm(x))), or both halves of a mixture
    if (c.experts > 0) {
      dense_and_experts(on, c, i, l, s, x, h, tap);
    } else {
      ops::norm(on, x, l.ffn_norm, c.eps, h);
      dense(on, size, l, s, h);
    }
    ops::add_norm(on, h, l.post_ffw_norm, c.eps, x);
    // 3. per-layer input: x += post_per_layer_input_norm(...)
    if (c.per_layer > 0) {
      per_layer(on, c, i, l, s, x, h);
      ops::add_norm(on, h, l.post_norm, c.eps, x);
    }
    // 4. the layer's scalar multiplies the whole stream
    if (l.layer_output_scale != 1.0F) ops::scale(on, l.layer_output_scale, x);
    if (tap) tap("layer_out", static_cast<int>(i), x);
  }
  for (const Piece& piece : pieces) piece.kv->commit(piece.count);
  ops::norm(on, x, weights_.output_norm, c.eps, h);
  return h;
}

void Decoder::head(ops::Context& on, Rows<const float> h, Rows<float> logits, State& s) const {
  const Profile::Scope scope(on.profile, Operation::Head);
  ops::linear(on, h, {{&weights_.output, logits}}, s.quantised);
  if (config_.logit_cap > 0) ops::softcap(on, config_.logit_cap, logits);
}

void Decoder::head_rows(ops::Context& on, Rows<const float> h, const std::vector<int32_t>& ids, float* out,
                        State& s) const {
  const Profile::Scope scope(on.profile, Operation::Head);
  ops::linear_rows(on, h, weights_.output, ids, out, s.quantised);
  if (config_.logit_cap > 0) ops::softcap(on, config_.logit_cap, {out, 1, static_cast<int64_t>(ids.size())});
}

}  // namespace gemlet::model
