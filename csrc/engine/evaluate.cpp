// Reading in blocks; see evaluate.h.
#include "engine/evaluate.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace gemlet::engine {

ReadJob::ReadJob(Engine& engine, std::vector<int32_t> ids)
    : engine_(engine), ids_(std::move(ids)), cache_(engine_.new_cache()) {
  engine_.check_ids(ids_);
}

ReadJob::~ReadJob() { engine_.cache_bytes -= counted_; }

bool ReadJob::step() {
  const int64_t first = cache_.length(), total = static_cast<int64_t>(ids_.size());
  const int64_t count = std::min(kBlockTokens, total - first);
  engine_.on().team.region([&] {
    engine_.decoder().forward(engine_.on(), ids_.data() + first, count, cache_, engine_.state(), tap(first));
    take(first, count);
  });
  engine_.cache_bytes += static_cast<int64_t>(cache_.bytes()) - counted_;
  counted_ = static_cast<int64_t>(cache_.bytes());
  engine_.note_scratch();
  return cache_.length() == total;
}

LogitsJob::LogitsJob(Engine& engine, std::vector<int32_t> ids, std::vector<int64_t> positions,
                     float* out)
    : ReadJob(engine, std::move(ids)), positions_(std::move(positions)), out_(out) {
  const auto total = static_cast<int64_t>(this->ids().size());
  for (const int64_t p : positions_)
    if (p < 0 || p >= total) throw BadArgument(cat("positions: ", p, " is outside the sequence, 0 to ", total - 1));
}

void LogitsJob::take(int64_t first, int64_t count) {
  std::vector<int64_t> rows;
  std::vector<size_t> slots;
  const auto flush = [&] {
    if (rows.empty()) return;
    const int64_t v = engine().decoder().config().vocabulary;
    const Rows<const float> h = engine().decoder().final_norm(engine().on(), rows, engine().state());
    const Rows<float> logits = engine().logits().rows(static_cast<int64_t>(rows.size()), v);
    engine().decoder().head(engine().on(), h, logits, engine().state());
    for (size_t i = 0; i < slots.size(); ++i)
      std::memcpy(out_ + static_cast<int64_t>(slots[i]) * v, logits.row(static_cast<int64_t>(i)),
                  static_cast<size_t>(v) * sizeof(float));
    rows.clear(), slots.clear();
  };
  for (size_t i = 0; i < positions_.size(); ++i) {
    if (positions_[i] < first || positions_[i] >= first + count) continue;
    rows.push_back(positions_[i] - first);
    slots.push_back(i);
    if (static_cast<int64_t>(rows.size()) == 4 * kHeadRows) flush();
  }
  flush();
}

HiddenJob::HiddenJob(Engine& engine, std::vector<int32_t> ids, std::vector<int64_t> layers, float* out)
    : ReadJob(engine, std::move(ids)), layers_(std::move(layers)), out_(out) {
  const auto most = static_cast<int64_t>(this->engine().decoder().config().layers.size());
  for (const int64_t layer : layers_)
    if (layer < 0 || layer > most)
      throw BadArgument(cat("layers: ", layer, " is no layer; expected 0 to ", most - 1, ", or ", most,
                            " for the state after the final norm"));
}

float* HiddenJob::at(size_t slot, int64_t row) {
  const int64_t width = engine().decoder().config().width;
  return out_ + (static_cast<int64_t>(slot) * static_cast<int64_t>(ids().size()) + row) * width;
}

Tap HiddenJob::tap(int64_t first) {
  return [this, first](const char*, int layer, Rows<const float> x) {
    for (size_t slot = 0; slot < layers_.size(); ++slot)
      if (layers_[slot] == layer)
        std::memcpy(at(slot, first), x.data, static_cast<size_t>(x.rows * x.cols) * sizeof(float));
  };
}

void HiddenJob::take(int64_t first, int64_t count) {
  const auto final_layer = static_cast<int64_t>(engine().decoder().config().layers.size());
  if (std::find(layers_.begin(), layers_.end(), final_layer) == layers_.end()) return;
  std::vector<int64_t> rows(static_cast<size_t>(count));
  for (int64_t r = 0; r < count; ++r) rows[static_cast<size_t>(r)] = r;
  const Rows<const float> h = engine().decoder().final_norm(engine().on(), rows, engine().state());
  for (size_t slot = 0; slot < layers_.size(); ++slot)
    if (layers_[slot] == final_layer)
      std::memcpy(at(slot, first), h.data, static_cast<size_t>(h.rows * h.cols) * sizeof(float));
}

ScoreJob::ScoreJob(Engine& engine, std::vector<int32_t> ids, int64_t first, float* out)
    : ReadJob(engine, std::move(ids)), from_(first), out_(out) {
  const auto total = static_cast<int64_t>(this->ids().size());
  if (first < 1 || first > total)
    throw BadArgument(cat("first: expected 1 to ", total, " (the first token has nothing before it), got ", first));
}

void ScoreJob::take(int64_t first, int64_t count) {
  const auto total = static_cast<int64_t>(ids().size());
  const int64_t v = engine().decoder().config().vocabulary;
  // Row p predicts token p + 1.
  const int64_t begin = std::max(first, from_ - 1), end = std::min(first + count, total - 1);
  for (int64_t p = begin; p < end; p += kHeadRows) {
    const int64_t n = std::min(kHeadRows, end - p);
    std::vector<int64_t> rows;
    for (int64_t i = 0; i < n; ++i) rows.push_back(p + i - first);
    const Rows<const float> h = engine().decoder().final_norm(engine().on(), rows, engine().state());
    const Rows<float> logits = engine().logits().rows(n, v);
    engine().decoder().head(engine().on(), h, logits, engine().state());
    ops::log_softmax_at(engine().on(), logits, ids().data() + p + 1, out_ + p + 1 - from_);
  }
}

}  // namespace gemlet::engine
