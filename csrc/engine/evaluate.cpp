// Reading in blocks; see evaluate.h.
#include "engine/evaluate.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>

#include "core/error.h"

namespace gemlet::engine {

ReadJob::ReadJob(Engine& engine, model::Prompt prompt)
    : engine_(engine), prompt_(engine_.admitted(std::move(prompt))), cache_(engine_.new_cache()) {}

bool ReadJob::step() {
  const Profile::Step step(engine_.on().profile, Profile::Phase::Prefill);
  const int64_t before = prompt_.cut(unwanted());
  if (!started_) {
    started_ = true;
    if (const auto [known, length] = engine_.prefixes().find(prompt_, before); known != nullptr) {
      cache_ = known->kv;
      cache_.rewind(length);
    }
  }
  const int64_t first = cache_.length(), total = prompt_.size();
  const int64_t stop = keeps() && first < before ? before : total;
  const int64_t count = prompt_.step(first, std::min(engine_.block(), stop - first));
  const model::Piece piece = {&cache_, ids().data() + first, count, wanted(first, count), &prompt_};
  engine_.on().team.region(
      [&] { take(first, engine_.decoder().forward(engine_.on(), {piece}, engine_.state(), tap(first))); });
  if (keeps() && cache_.length() == before) engine_.prefixes().add(prompt_.first(before), cache_);
  engine_.note_scratch();
  return cache_.length() == total;
}

LogitsJob::LogitsJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> positions, float* out)
    : ReadJob(engine, std::move(prompt)), out_(out) {
  const auto total = static_cast<int64_t>(this->ids().size());
  for (size_t i = 0; i < positions.size(); ++i) {
    if (positions[i] < 0 || positions[i] >= total)
      throw BadArgument(cat("positions: ", positions[i], " is outside the sequence, 0 to ", total - 1));
    positions_.emplace_back(positions[i], static_cast<int64_t>(i));
  }
  std::sort(positions_.begin(), positions_.end());
}

std::vector<int64_t> LogitsJob::wanted(int64_t first, int64_t count) {
  std::vector<int64_t> rows;
  slots_.clear();
  for (const auto& [position, slot] : positions_) {
    if (position < first || position >= first + count) continue;
    if (rows.empty() || rows.back() != position - first) rows.push_back(position - first);  // may be asked for twice
    slots_.emplace_back(static_cast<int64_t>(rows.size()) - 1, slot);
  }
  return rows;
}

// Rows that follow one another in h and in out alike are written where they belong, all at once: the head is the
// widest of all weights, and is unpacked once for all rows of a product.
void LogitsJob::take(int64_t /*first*/, Rows<const float> h) {
  const int64_t v = engine().decoder().config().vocabulary;
  bool in_order = !slots_.empty();
  for (size_t i = 0; i < slots_.size(); ++i)
    in_order = in_order && slots_[i].first == static_cast<int64_t>(i) &&
               slots_[i].second == slots_[0].second + slots_[i].first;
  if (in_order) {
    engine().decoder().head(engine().on(), h, {out_ + slots_[0].second * v, h.rows, v, v}, engine().state());
    return;
  }
  for (int64_t r = 0; r < h.rows; r += kHeadRows) {
    const int64_t n = std::min(kHeadRows, h.rows - r);
    const Rows<float> logits = engine().logits().rows(n, v);
    engine().decoder().head(engine().on(), {h.row(r), n, h.cols}, logits, engine().state());
    for (const auto& [row, slot] : slots_)
      if (row >= r && row < r + n)
        std::memcpy(out_ + slot * v, logits.row(row - r), static_cast<size_t>(v) * sizeof(float));
  }
}

HiddenJob::HiddenJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> layers, float* out)
    : ReadJob(engine, std::move(prompt)), layers_(std::move(layers)), out_(out) {
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
  return [this, first](const char* name, int layer, Rows<const float> x) {
    if (std::string_view(name) != "layer_out") return;
    for (size_t slot = 0; slot < layers_.size(); ++slot)
      if (layers_[slot] == layer)
        std::memcpy(at(slot, first), x.data, static_cast<size_t>(x.rows * x.cols) * sizeof(float));
  };
}

std::vector<int64_t> HiddenJob::wanted(int64_t /*first*/, int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

void HiddenJob::take(int64_t first, Rows<const float> h) {
  const auto final_layer = static_cast<int64_t>(engine().decoder().config().layers.size());
  for (size_t slot = 0; slot < layers_.size(); ++slot)
    if (layers_[slot] == final_layer)
      std::memcpy(at(slot, first), h.data, static_cast<size_t>(h.rows * h.cols) * sizeof(float));
}

ScoreJob::ScoreJob(Engine& engine, model::Prompt prompt, int64_t first, float* out)
    : ReadJob(engine, std::move(prompt)), from_(first), out_(out) {
  const auto total = static_cast<int64_t>(this->ids().size());
  if (first < 1 || first > total)
    throw BadArgument(cat("first: expected 1 to ", total, " (the first token has nothing before it), got ", first));
  for (const model::Span& span : this->prompt().spans)
    if (span.end() > first)
      throw BadArgument(cat("first: expected tokens from position ", first, " on, got soft rows up to ", span.end() - 1,
                            "; only tokens have a probability"));
}

// Row p of the sequence predicts token p + 1.
std::vector<int64_t> ScoreJob::wanted(int64_t first, int64_t count) {
  std::vector<int64_t> rows;
  const auto total = static_cast<int64_t>(ids().size());
  for (int64_t p = std::max(first, from_ - 1); p < std::min(first + count, total - 1); ++p) rows.push_back(p - first);
  return rows;
}

void ScoreJob::take(int64_t first, Rows<const float> h) {
  const int64_t v = engine().decoder().config().vocabulary;
  const int64_t begin = std::max(first, from_ - 1);
  for (int64_t r = 0; r < h.rows; r += kHeadRows) {
    const int64_t n = std::min(kHeadRows, h.rows - r), p = begin + r;
    const Rows<float> logits = engine().logits().rows(n, v);
    engine().decoder().head(engine().on(), {h.row(r), n, h.cols}, logits, engine().state());
    ops::log_softmax_at(engine().on(), logits, ids().data() + p + 1, out_ + p + 1 - from_);
  }
}

}  // namespace gemlet::engine
