// The drafter's forward pass, in the order the reference tells it (transformers, models/gemma4_assistant/
// modeling_gemma4_assistant.py). D is its own width, B its target's, V the vocabulary of both.
#include "model/drafter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "core/error.h"
#include "model/layer.h"

namespace gemlet::model {
namespace {

// The target's last layer of this kind that has keys of its own; -1: none.
int64_t donor(const Config& target, bool sliding) {
  for (auto i = static_cast<int64_t>(target.layers.size()) - 1; i >= 0; --i) {
    const LayerConfig& l = target.layers[static_cast<size_t>(i)];
    if (l.sliding == sliding && l.kv_source == i) return i;
  }
  return -1;
}

// Indices of the k largest, best first; ties to the lower one.
std::vector<int64_t> best(const float* scores, int64_t count, int64_t k) {
  std::vector<int64_t> order(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) order[static_cast<size_t>(i)] = i;
  std::partial_sort(order.begin(), order.begin() + k, order.end(),
                    [&](int64_t a, int64_t b) { return scores[a] > scores[b] || (scores[a] == scores[b] && a < b); });
  order.resize(static_cast<size_t>(k));
  return order;
}

}  // namespace

Drafter::Drafter(std::shared_ptr<const Checkpoint> file, const Decoder& target)
    : target_(target), file_(std::move(file)), config_(file_->config()) {
  join();
  weights_ = Weights::from(*file_, config_);
}

void Drafter::join() {
  const Config& t = target_.config();
  const std::string where = cat(file_->format(), ": '", file_->path(), "'");
  if (config_.backbone == 0)
    throw UnsupportedModel(cat(where, ": architecture '", config_.architecture,
                               "' is no drafter; draft= wants Gemma 4's assistant of this model, 'lookup' or 'off'"));
  const std::string remedy = cat("; the drafter was made for another model than '", target_.file().path(), "'");
  if (t.architecture != "gemma4")
    throw UnsupportedModel(cat(where, ": a drafter of Gemma 4, but the model is '", t.architecture, "'", remedy));
  if (config_.backbone != t.width)
    throw BadFile(cat(where, ": made for a width of ", config_.backbone, ", the model has ", t.width, remedy));
  if (config_.vocabulary != t.vocabulary)
    throw BadFile(cat(where, ": ", config_.vocabulary, " tokens, the model has ", t.vocabulary, remedy));
  for (size_t i = 0; i < config_.layers.size(); ++i) {
    LayerConfig& l = config_.layers[i];
    const char* kind = l.sliding ? "sliding" : "full";
    l.kv_source = donor(t, l.sliding);
    if (l.kv_source < 0)
      throw BadFile(cat(where, ": layer ", i, " wants the keys of a ", kind, " layer, the model has none", remedy));
    const LayerConfig& from = t.layers[static_cast<size_t>(l.kv_source)];
    if (l.channels != from.channels || l.heads % from.kv_heads != 0)
      throw BadFile(cat(where, ": layer ", i, " has ", l.heads, " heads of ", l.channels, " channels, the model's ",
                        kind, " layers ", from.kv_heads, " key heads of ", from.channels, remedy));
    l.kv_heads = from.kv_heads;
  }
  if (config_.centroids > 0 &&
      (config_.vocabulary % config_.centroids != 0 || config_.centroids_used > config_.centroids))
    throw BadFile(cat(where, ": ", config_.centroids, " centroids, ", config_.centroids_used, " at a time, over ",
                      config_.vocabulary, " tokens: each must have as many tokens as the others"));
  config_.window = t.window;
  config_.rope_sliding = t.rope_sliding, config_.rope_full = t.rope_full;
  config_.attention_scale = t.attention_scale;
  config_.embedding_scale = t.embedding_scale;
  config_.check(where);
}

void Drafter::place(ops::Context& on, KvCache& kv, State& s) const {
  const int64_t position = kv.length();  // of `id`, which has no keys yet
  if (position < 1) throw BadArgument("drafter: expected at least one cached token, got none");
  s.spans = {{&kv, 0, 1}};
  s.positions = {position};
  s.full = {{0}, {position}};
  s.sliding = {{std::clamp<int64_t>(position - config_.window + 1, 0, position - 1)}, {position}};
  s.rope_sliding.fill(on, config_.rope_sliding, &position, 1);
  s.rope_full.fill(on, config_.rope_full, &position, 1);
}

Rows<const float> Drafter::step(ops::Context& on, int32_t id, float* state, State& s) const {
  const Config& c = config_;
  // x (1, D) = pre_projection(concat(the target's embedding of id, scaled; state))
  const Rows<float> both = s.branch.rows(1, 2 * c.backbone);
  ops::embed(on, target_.weights().token_embd, &id, c.embedding_scale, {both.data, 1, c.backbone});
  std::memcpy(both.data + c.backbone, state, static_cast<size_t>(c.backbone) * sizeof(float));
  const Rows<float> x = s.x.rows(1, c.width), h = s.h.rows(1, c.width);
  ops::linear(on, both, {{&weights_.pre_projection, x}}, s.quantised);
  for (size_t i = 0; i < weights_.layers.size(); ++i) {
    const Layer& l = weights_.layers[i];
    const Rows<float> q = s.q.rows(1, c.layers[i].heads * c.layers[i].channels);
    ops::norm(on, x, l.attn_norm, c.eps, h);
    ops::linear(on, h, {{&l.attn_q, q}}, s.quantised);
    attend(on, c, i, l, s, q, h);
    ops::add_norm(on, h, l.post_attention_norm, c.eps, x);
    ops::norm(on, x, l.ffn_norm, c.eps, h);
    dense(on, c.layers[i], l, s, h);
    ops::add_norm(on, h, l.post_ffw_norm, c.eps, x);
    if (l.layer_output_scale != 1.0F) ops::scale(on, l.layer_output_scale, x);
  }
  ops::norm(on, x, weights_.output_norm, c.eps, h);
  ops::linear(on, h, {{&weights_.post_projection, {state, 1, c.backbone}}}, s.quantised);
  return h;
}

void Drafter::head(ops::Context& on, Rows<const float> x, float* logits, State& s) const {
  const Config& c = config_;
  if (c.centroids == 0) {
    ops::linear(on, x, {{&weights_.output, {logits, 1, c.vocabulary}}}, s.quantised);
    return;
  }
  const int64_t each = c.vocabulary / c.centroids;
  const Rows<float> scores = s.gate.rows(1, c.centroids);
  ops::linear(on, x, {{&weights_.centroids, scores}}, s.quantised);
  std::vector<int32_t> ids;
  for (const int64_t centroid : best(scores.data, c.centroids, c.centroids_used)) {
    const auto first = weights_.ordering.begin() + centroid * each;
    ids.insert(ids.end(), first, first + each);
  }
  std::sort(ids.begin(), ids.end());
  const auto count = static_cast<int64_t>(ids.size());
  float* some = s.up.reserve(count);
  ops::linear_rows(on, x, weights_.output, ids, some, s.quantised);
  std::fill_n(logits, c.vocabulary, *std::min_element(some, some + count) - 1.0F);
  for (int64_t i = 0; i < count; ++i) logits[ids[static_cast<size_t>(i)]] = some[i];
}

std::vector<int32_t> Drafter::draft(ops::Context& on, KvCache& kv, int32_t id, const float* state, int64_t count,
                                    State& s) const {
  std::vector<int32_t> ids;
  std::vector<float> carried(state, state + config_.backbone), logits(static_cast<size_t>(config_.vocabulary));
  place(on, kv, s);
  while (static_cast<int64_t>(ids.size()) < count) {
    const Rows<const float> x = step(on, id, carried.data(), s);
    head(on, x, logits.data(), s);
    id = static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    ids.push_back(id);
  }
  return ids;
}

}  // namespace gemlet::model
