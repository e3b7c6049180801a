// Sampler's steps that change single logits before anything is picked: bias, penalties, mask, and the memory they need.
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "sampling/sampler.h"

namespace gemlet::sampling {
namespace {

// A bias or a penalty may overflow; +inf is kept for damaged logits.
float bounded(float x) { return std::min(x, std::numeric_limits<float>::max()); }

}  // namespace

const float* Sampler::edited(const float* logits, const uint32_t* mask) {
  const bool touched = !options_.logit_bias.empty() || !history_.empty() || !generated_.empty();
  if (!touched && mask == nullptr) return logits;
  edited_.assign(logits, logits + vocabulary_);
  if (touched) apply_bias_and_penalties();
  if (mask != nullptr) apply_mask(mask);
  return edited_.data();
}

void Sampler::apply_bias_and_penalties() {
  const auto change = [this](int32_t id, auto&& f) {
    float& x = edited_[static_cast<size_t>(id)];
    if (x < std::numeric_limits<float>::infinity()) x = bounded(f(x));  // neither NaN nor +inf
  };
  for (const auto& [id, bias] : options_.logit_bias) {
    change(id, [added = bias](float x) { return x + added; });
  }
  const float repeat = options_.repeat_penalty;
  const bool distinct = options_.penalty_window < 0;
  const size_t window =
      distinct ? history_.size() : std::min(history_.size(), static_cast<size_t>(options_.penalty_window));
  const auto begin = history_.end() - static_cast<std::ptrdiff_t>(window);
  for (auto it = begin; it != history_.end(); ++it) {
    const size_t id = static_cast<size_t>(*it);
    if (!distinct && seen_[id]) continue;
    seen_[id] = true;
    change(*it, [repeat](float x) { return x < 0 ? x * repeat : x / repeat; });
  }
  if (!distinct) {
    for (auto it = begin; it != history_.end(); ++it) seen_[static_cast<size_t>(*it)] = false;
  }
  for (const auto& [id, count] : generated_) {
    const float penalty = options_.presence_penalty + options_.frequency_penalty * static_cast<float>(count);
    change(id, [penalty](float x) { return x - penalty; });
  }
}

void Sampler::apply_mask(const uint32_t* mask) {
  constexpr float kBanned = -std::numeric_limits<float>::infinity();
  uint32_t bits[32];  // a table, because baseline x86-64 cannot shift lanes by different counts
  for (size_t j = 0; j < 32; ++j) bits[j] = 1U << j;
  for (size_t begin = 0; begin < vocabulary_; begin += 32) {
    const uint32_t word = mask[begin / 32];
    if (word == 0xffffffffU) continue;
    const size_t size = std::min<size_t>(32, vocabulary_ - begin);
    float* x = edited_.data() + begin;
    if (word == 0) {
      std::fill_n(x, size, kBanned);
      continue;
    }
    if (size == 32) {
      for (size_t j = 0; j < 32; ++j) x[j] = (word & bits[j]) != 0 ? x[j] : kBanned;
    } else {
      for (size_t j = 0; j < size; ++j) x[j] = (word & bits[j]) != 0 ? x[j] : kBanned;
    }
  }
}

void Sampler::see_prompt(const int32_t* ids, size_t count) {
  for (size_t i = 0; i < count; ++i) {
    if (ids[i] < 0 || static_cast<size_t>(ids[i]) >= vocabulary_) {
      throw BadArgument(cat("prompt: expected token ids from 0 to ", vocabulary_ - 1, ", got ", ids[i], " at position ",
                            i, "; take ids from this model's own tokenize()"));
    }
  }
  for (size_t i = 0; i < count; ++i) push_history(ids[i]);
}

void Sampler::push_history(int32_t id) {
  if (!uses_history()) return;
  seen_.resize(vocabulary_);
  if (options_.penalty_window < 0) {
    if (!seen_[static_cast<size_t>(id)]) history_.push_back(id);
    seen_[static_cast<size_t>(id)] = true;
    return;
  }
  const size_t window = static_cast<size_t>(options_.penalty_window);
  if (history_.size() >= 2 * window) {  // trimmed now and then, so that a token costs O(1)
    history_.erase(history_.begin(), history_.end() - static_cast<std::ptrdiff_t>(window - 1));
  }
  history_.push_back(id);
}

void Sampler::remember(int32_t id) {
  push_history(id);
  if (!counts_generated()) return;
  const auto place = std::lower_bound(generated_.begin(), generated_.end(), std::pair<int32_t, int32_t>{id, 0});
  if (place != generated_.end() && place->first == id) {
    ++place->second;
  } else {
    generated_.insert(place, {id, 1});
  }
}

}  // namespace gemlet::sampling
