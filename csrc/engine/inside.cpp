// See inside.h. Every row is wanted, so that every layer sees every token.
#include "engine/inside.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>

#include "core/error.h"

namespace gemlet::engine {
namespace {

std::vector<int64_t> all(int64_t count) {
  std::vector<int64_t> rows(static_cast<size_t>(count));
  std::iota(rows.begin(), rows.end(), 0);
  return rows;
}

const model::State::Sight& sight_of(Engine& engine, const model::LayerConfig& layer) {
  return layer.sliding ? engine.state().sliding : engine.state().full;
}

void check_each(const std::vector<int64_t>& given, int64_t end, const char* what) {
  for (const int64_t n : given)
    if (n < 0 || n >= end) throw BadArgument(cat("attention: ", what, " ", n, " is none of 0 to ", end - 1));
}

void check_asked(const model::Config& c, const std::vector<int64_t>& layers, const std::vector<int64_t>& heads,
                 const std::vector<int64_t>& positions, int64_t total) {
  check_each(layers, static_cast<int64_t>(c.layers.size()), "layer");
  check_each(positions, total, "position");
  for (const int64_t layer : layers) check_each(heads, c.layers[static_cast<size_t>(layer)].heads, "head");
}

}  // namespace

RoutingJob::RoutingJob(Engine& engine, model::Prompt prompt, int32_t* experts, float* weights)
    : ReadJob(engine, std::move(prompt)), experts_(experts), weights_(weights) {}

std::vector<int64_t> RoutingJob::wanted(int64_t /*first*/, int64_t count) { return all(count); }

Tap RoutingJob::tap(int64_t first) {
  return [this, first](const char* name, int layer, Rows<const float> x) {
    const bool ids_come = std::string_view(name) == "router_experts";
    if (!ids_come && std::string_view(name) != "router_weights") return;
    const int64_t at = (layer * static_cast<int64_t>(ids().size()) + first) * x.cols;
    for (int64_t i = 0; i < x.rows * x.cols; ++i)
      if (ids_come)
        experts_[at + i] = static_cast<int32_t>(x.data[i]);
      else
        weights_[at + i] = x.data[i];
  };
}

AttentionJob::AttentionJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> layers,
                           std::vector<int64_t> heads, std::vector<int64_t> positions, float* out)
    : ReadJob(engine, std::move(prompt)),
      layers_(std::move(layers)),
      heads_(std::move(heads)),
      positions_(std::move(positions)),
      out_(out) {
  check_asked(this->engine().decoder().config(), layers_, heads_, positions_, this->prompt().size());
}

std::vector<int64_t> AttentionJob::wanted(int64_t /*first*/, int64_t count) { return all(count); }

Tap AttentionJob::tap(int64_t first) {
  return [this, first](const char* name, int layer, Rows<const float> x) {
    if (std::string_view(name) != "queries") return;
    for (size_t slot = 0; slot < layers_.size(); ++slot)
      if (layers_[slot] == layer) look(slot, first, x);
  };
}

// q (T, H C): the finished queries of this block, whose keys are stored already.
void AttentionJob::look(size_t layer_slot, int64_t first, Rows<const float> q) {
  const model::Config& c = engine().decoder().config();
  const model::LayerConfig& l = c.layers[static_cast<size_t>(layers_[layer_slot])];
  const ops::KvPages pages = cache().pages(static_cast<size_t>(l.kv_source));
  const auto total = static_cast<int64_t>(ids().size());
  for (size_t h = 0; h < heads_.size(); ++h)
    for (size_t p = 0; p < positions_.size(); ++p) {
      const int64_t position = positions_[p], row = position - first;
      if (row < 0 || row >= q.rows) continue;
      const model::State::Sight& sight = sight_of(engine(), l);
      const int64_t begin = sight.begin[static_cast<size_t>(row)], end = sight.end[static_cast<size_t>(row)];
      const auto slot = static_cast<int64_t>((layer_slot * heads_.size() + h) * positions_.size() + p);
      float* weights = out_ + slot * total;
      std::fill(weights, weights + total, 0.0F);
      const int64_t kv_head = heads_[h] / (l.heads / l.kv_heads);
      ops::attention_weights(engine().on(), q.row(row) + heads_[h] * l.channels, pages, kv_head, begin, end,
                             c.attention_scale, weights);
    }
}

AttentionMapJob::AttentionMapJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> layers,
                                 std::vector<int64_t> heads, std::vector<int64_t> positions, model::Block keys,
                                 float* out)
    : ReadJob(engine, std::move(prompt)),
      layers_(std::move(layers)),
      heads_(std::move(heads)),
      positions_(std::move(positions)),
      keys_(keys),
      weights_(static_cast<size_t>(this->engine().threads())),
      out_(out) {
  const int64_t total = this->prompt().size();
  check_asked(this->engine().decoder().config(), layers_, heads_, positions_, total);
  if (keys_.begin < 0 || keys_.begin >= keys_.end || keys_.end > total)
    throw BadArgument(cat("attention: keys ", keys_.begin, " to ", keys_.end - 1, " are none of 0 to ", total - 1));
  if (layers_.empty() || heads_.empty()) throw BadArgument("attention: expected at least one layer and one head");
  std::fill(out_, out_ + static_cast<int64_t>(positions_.size()) * (keys_.end - keys_.begin), 0.0F);
  for (std::vector<float>& row : weights_) row.resize(static_cast<size_t>(total));
}

int64_t AttentionMapJob::unwanted() const {
  return positions_.empty() ? 0 : *std::min_element(positions_.begin(), positions_.end());
}

std::vector<int64_t> AttentionMapJob::wanted(int64_t first, int64_t count) {
  const auto here = [&](int64_t p) { return p >= first && p < first + count; };
  return std::any_of(positions_.begin(), positions_.end(), here) ? all(count) : std::vector<int64_t>();
}

Tap AttentionMapJob::tap(int64_t first) {
  return [this, first](const char* name, int layer, Rows<const float> x) {
    if (std::string_view(name) != "queries") return;
    for (const int64_t wanted : layers_)
      if (wanted == layer) look(static_cast<size_t>(layer), first, x);
  };
}

// A position is one piece of work, so that its sum does not depend on the threads.
void AttentionMapJob::look(size_t layer, int64_t first, Rows<const float> q) {
  const model::Config& c = engine().decoder().config();
  const model::LayerConfig& l = c.layers[layer];
  const ops::KvPages pages = cache().pages(static_cast<size_t>(l.kv_source));
  const model::State::Sight& sight = sight_of(engine(), l);
  const float share = 1.0F / static_cast<float>(layers_.size() * heads_.size());
  const int64_t width = keys_.end - keys_.begin;
  engine().on().team.run(static_cast<int64_t>(positions_.size()), [&](int64_t p, int worker) {
    const int64_t row = positions_[static_cast<size_t>(p)] - first;
    if (row < 0 || row >= q.rows) return;
    const int64_t begin = sight.begin[static_cast<size_t>(row)], end = sight.end[static_cast<size_t>(row)];
    float* weights = weights_[static_cast<size_t>(worker)].data();
    float* sums = out_ + p * width;
    for (const int64_t head : heads_) {
      ops::attention_weights(engine().on(), q.row(row) + head * l.channels, pages, head / (l.heads / l.kv_heads), begin,
                             end, c.attention_scale, weights, worker);
      for (int64_t key = std::max(begin, keys_.begin); key < std::min(end, keys_.end); ++key)
        sums[key - keys_.begin] += share * weights[key];
    }
  });
}

}  // namespace gemlet::engine
