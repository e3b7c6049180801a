// The likeliest token or a draw from all of them; the beam search is CTranslate2's: of twice as many candidates as beams,
// those among the first that end a text are put aside, and further ones take their places.
#include "engine/whisper_search.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sampling/softmax.h"

namespace gemlet::engine {

WhisperSearch::WhisperSearch(WhisperOptions options)
    : options_(std::move(options)), alive_(1), random_{options_.seed, 0} {}

std::vector<int32_t> WhisperSearch::said(const WhisperText& text) const {
  std::vector<int32_t> all = options_.given;
  all.insert(all.end(), text.tokens.begin(), text.tokens.end());
  return all;
}

const std::vector<WhisperSearch::Next>& WhisperSearch::step(const ops::Context& on, Rows<float> logits) {
  ++steps_;
  next_.clear();
  if (options_.beams > 1 && options_.temperature == 0)
    choose_beam(on, logits);
  else
    choose_one(on, logits);
  if (next_.empty()) rank();
  return next_;
}

// text, and `last` after it, which may be its end.
void WhisperSearch::finish(const WhisperText& text, const Candidate& last) {
  finished_.push_back({text.tokens, last.score});
  if (last.token != options_.rules.end) finished_.back().tokens.push_back(last.token);
}

void WhisperSearch::choose_one(const ops::Context& on, Rows<float> logits) {
  WhisperText& text = alive_.front();
  const LogSum sum = apply(on.kernels, options_.rules, said(text), steps_ > 1, logits.data, logits.cols);
  int32_t token = options_.rules.end;  // where nothing is allowed
  if (std::isfinite(sum.most)) {
    token = options_.temperature > 0
                ? draw(logits.data, logits.cols, sum)
                : static_cast<int32_t>(std::find(logits.data, logits.data + logits.cols, sum.most) - logits.data);
    text.log_probability += static_cast<double>(logits.data[token]) - sum.log;
  }
  const Candidate chosen{text.log_probability, 0, token};
  if (token == options_.rules.end || steps_ == options_.most_tokens) return finish(text, chosen);
  text.tokens.push_back(token);
  next_.push_back({0, token});
}

int32_t WhisperSearch::draw(const float* logits, int64_t vocabulary, const LogSum& sum) {
  std::vector<double> weights(static_cast<size_t>(vocabulary));
  sampling::softmax_weights(logits, weights.size(), static_cast<double>(sum.most), 1 / options_.temperature,
                            weights.data());
  double total = 0;
  for (const double w : weights) total += w;
  double left = random_.uniform() * total;
  int32_t last = options_.rules.end;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] <= 0) continue;
    last = static_cast<int32_t>(i);
    left -= weights[i];
    if (left < 0) break;
  }
  return last;
}

// The best continuations of one row, likeliest first.
void WhisperSearch::widen(const float* logits, int64_t vocabulary, int64_t row) {
  const auto most = static_cast<size_t>(2 * options_.beams);
  std::vector<Candidate>& best = candidates_[static_cast<size_t>(row)];
  float least = -INFINITY;
  for (int64_t id = 0; id < vocabulary; ++id) {
    if (!(logits[id] > least)) continue;
    const Candidate one{static_cast<double>(logits[id]), row, static_cast<int32_t>(id)};
    const auto place = std::find_if(best.begin(), best.end(), [&](const Candidate& c) { return c.score < one.score; });
    best.insert(place, one);
    if (best.size() > most) best.pop_back();
    if (best.size() == most) least = static_cast<float>(best.back().score);
  }
}

void WhisperSearch::choose_beam(const ops::Context& on, Rows<float> logits) {
  candidates_.assign(alive_.size(), {});
  on.team.run(static_cast<int64_t>(alive_.size()), [&](int64_t row, int) {
    const WhisperText& text = alive_[static_cast<size_t>(row)];
    const LogSum sum = apply(on.kernels, options_.rules, said(text), steps_ > 1, logits.row(row), logits.cols);
    widen(logits.row(row), logits.cols, row);
    for (Candidate& c : candidates_[static_cast<size_t>(row)]) c.score += text.log_probability - sum.log;
  });
  std::vector<Candidate> all;
  for (const auto& row : candidates_) all.insert(all.end(), row.begin(), row.end());
  std::stable_sort(all.begin(), all.end(), [](const Candidate& a, const Candidate& b) { return a.score > b.score; });
  const auto beams = static_cast<size_t>(options_.beams);
  if (all.size() > 2 * beams) all.resize(2 * beams);
  const bool last_step = steps_ == options_.most_tokens;
  const auto ends = [&](const Candidate& c) { return c.token == options_.rules.end; };
  std::vector<Candidate> kept;
  size_t spare = beams;
  for (size_t i = 0; i < std::min(beams, all.size()); ++i) {
    Candidate c = all[i];
    if (ends(c) || last_step) {
      finish(alive_[static_cast<size_t>(c.row)], c);
      while (spare < all.size() && ends(all[spare])) ++spare;
      if (spare == all.size()) continue;
      c = all[spare++];
    }
    kept.push_back(c);
  }
  const auto wanted = static_cast<size_t>(std::max(1.0, std::round(static_cast<double>(beams) * options_.patience)));
  if (all.empty()) finish(alive_.front(), {alive_.front().log_probability, 0, options_.rules.end});
  if (last_step || finished_.size() >= wanted || kept.empty()) return;
  std::vector<WhisperText> grown;
  for (const Candidate& c : kept) {
    grown.push_back({alive_[static_cast<size_t>(c.row)].tokens, c.score});
    grown.back().tokens.push_back(c.token);
    next_.push_back({c.row, c.token});
  }
  alive_ = std::move(grown);
}

// Likeliest first, for its length.
void WhisperSearch::rank() {
  const auto rate = [&](const WhisperText& text) {
    const auto length = static_cast<double>(std::max<size_t>(text.tokens.size(), 1));
    return text.log_probability / std::pow(length, options_.length_penalty);
  };
  std::stable_sort(finished_.begin(), finished_.end(),
                   [&](const WhisperText& a, const WhisperText& b) { return rate(a) > rate(b); });
}

}  // namespace gemlet::engine
