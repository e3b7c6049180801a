// Sampler: the order of the steps, see sampler.h. What picks from long arrays is in select.cpp, what exponentiates in
// softmax.cpp, what changes single logits in edits.cpp.
#include "sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/error.h"
#include "sampling/fixed_math.h"
#include "sampling/softmax.h"

namespace gemlet::sampling {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Where the running sum of weights first passes `target`; when rounding lets none pass, the last that is not zero.
size_t walk(const double* weights, size_t n, double sum, double target) {
  size_t last = 0;
  for (size_t i = 0; i < n; ++i) {
    sum += weights[i];
    if (sum > target) return i;
    if (weights[i] > 0) last = i;
  }
  return last;
}

}  // namespace

Sampler::Sampler(Options options, int64_t vocabulary)
    : options_(std::move(options)), vocabulary_(static_cast<size_t>(vocabulary)), random_{options_.seed, 0} {
  check(options_, vocabulary);
}

Choice Sampler::sample(const float* logits, const uint32_t* mask) {
  const float* x = edited(logits, mask);
  block_maxima(x, vocabulary_, maxima_);
  const Candidate best = best_of(x, vocabulary_, maxima_);
  if (best.id < 0 || best.logit == kInfinity) refuse(logits, mask);
  Choice choice;
  if (options_.logprobs >= 0) {  // first, because it may refuse
    if (x != logits) block_maxima(logits, vocabulary_, maxima_);
    add_logprobs(logits, choice);
    if (x != logits) block_maxima(x, vocabulary_, maxima_);
  }
  choice.id = options_.temperature == 0 ? best.id : draw(x, best.logit);
  if (options_.logprobs >= 0) choice.logprob = static_cast<float>(logits[choice.id] - log_total_);
  remember(choice.id);
  return choice;
}

Choice Sampler::take(int32_t id) {
  for (const auto& [banned, bias] : options_.logit_bias)
    if (banned == id && bias == -kInfinity)
      throw BadArgument(
          cat("logits: expected at least one above -inf among 1 allowed tokens, and logit_bias bans that one, ", id,
              "; look at logit_bias and the mask"));
  if (options_.temperature != 0) random_.uniform();
  remember(id);
  Choice choice;
  choice.id = id;
  return choice;
}

int32_t Sampler::draw(const float* x, double max) {
  const bool top_k = options_.top_k > 0 && static_cast<size_t>(options_.top_k) < vocabulary_;
  if (!top_k && options_.top_p == 1.0F && options_.min_p == 0.0F) return draw_from_all(x, max);
  if (top_k) {
    pool_top_k(x, max);
  } else if (options_.top_p < 1.0F) {
    pool_top_p(x, max);
  } else {
    pool_min_p(x, max);
  }
  return draw_from_pool();
}

// No list of what may be drawn and no second array: sums of blocks, then the one block again.
int32_t Sampler::draw_from_all(const float* x, double max) {
  const double inverse = 1.0 / options_.temperature;
  double block[kWeightBlock];
  const size_t blocks = (vocabulary_ + kWeightBlock - 1) / kWeightBlock;
  sums_.resize(blocks);
  double total = 0;
  for (size_t b = 0; b < blocks; ++b) {
    const size_t begin = b * kWeightBlock, size = std::min(kWeightBlock, vocabulary_ - begin);
    softmax_weights(x + begin, size, max, inverse, block);
    total += sums_[b] = block_sum(block, size);
  }
  const double target = random_.uniform() * total;
  const size_t b = walk(sums_.data(), blocks, 0, target);
  double before = 0;
  for (size_t i = 0; i < b; ++i) before += sums_[i];
  const size_t begin = b * kWeightBlock, size = std::min(kWeightBlock, vocabulary_ - begin);
  softmax_weights(x + begin, size, max, inverse, block);
  return static_cast<int32_t>(begin + walk(block, size, before, target));
}

void Sampler::pool_top_k(const float* x, double max) {
  const double inverse = 1.0 / options_.temperature;
  top_candidates(x, vocabulary_, static_cast<size_t>(options_.top_k), maxima_, spare_, candidates_);
  ids_.resize(candidates_.size());
  weights_.resize(candidates_.size());
  double total = 0;
  for (size_t i = 0; i < candidates_.size(); ++i) {
    ids_[i] = candidates_[i].id;
    weights_[i] = fixed_exp((static_cast<double>(candidates_[i].logit) - max) * inverse);
    total += weights_[i];
  }
  if (options_.top_p < 1.0F) {
    const Cut cut = nucleus(weights_.data(), weights_.size(), double{options_.top_p} * total, doubtful_);
    keep(cut.weight, cut.ties);
  }
  if (options_.min_p > 0.0F) keep(options_.min_p, vocabulary_);
}

// top_p over the whole vocabulary, min_p on the way. What weighs less than (1 - top_p) / V of the total cannot be in the
// nucleus: all such together weigh less than 1 - top_p. That leaves some thousands of a model's logits, without a sort.
void Sampler::pool_top_p(const float* x, double max) {
  const double inverse = 1.0 / options_.temperature;
  const size_t blocks = (vocabulary_ + kWeightBlock - 1) / kWeightBlock;
  sums_.resize(blocks);
  weights_.resize(vocabulary_);
  double total = 0;
  for (size_t b = 0; b < blocks; ++b) {
    const size_t begin = b * kWeightBlock, size = std::min(kWeightBlock, vocabulary_ - begin);
    softmax_weights(x + begin, size, max, inverse, weights_.data() + begin);
    total += sums_[b] = block_sum(weights_.data() + begin, size);
  }
  constexpr double kSafety = 0.5;  // far more than rounding can move the sums
  const double outside = kSafety * (1.0 - double{options_.top_p}) * total / static_cast<double>(vocabulary_);
  const double floor = std::max<double>(options_.min_p, outside);
  ids_.resize(vocabulary_);
  size_t kept = 0;
  for (size_t b = 0; b < blocks; ++b) {
    if (sums_[b] < kSafety * floor) continue;
    const size_t end = std::min(vocabulary_, (b + 1) * kWeightBlock);
    for (size_t i = b * kWeightBlock; i < end; ++i) {
      if (weights_[i] < floor || weights_[i] == 0) continue;
      ids_[kept] = static_cast<int32_t>(i);
      weights_[kept++] = weights_[i];
    }
  }
  ids_.resize(kept);
  weights_.resize(kept);
  const Cut cut = nucleus(weights_.data(), kept, double{options_.top_p} * total, doubtful_);
  keep(cut.weight, cut.ties);
}

// min_p alone needs no total: only blocks whose maximum can reach the threshold are exponentiated.
void Sampler::pool_min_p(const float* x, double max) {
  const double inverse = 1.0 / options_.temperature, min_p = options_.min_p;
  const double least = fixed_log(min_p) - 1e-6;  // a little low; the weight itself decides
  ids_.clear();
  weights_.clear();
  for (size_t b = 0; b < maxima_.size(); ++b) {
    if (!((maxima_[b] - max) * inverse >= least)) continue;
    const size_t end = std::min(vocabulary_, (b + 1) * kMaximaBlock);
    for (size_t i = b * kMaximaBlock; i < end; ++i) {
      const double weight = fixed_exp((static_cast<double>(x[i]) - max) * inverse);
      if (weight < min_p) continue;
      ids_.push_back(static_cast<int32_t>(i));
      weights_.push_back(weight);
    }
  }
}

// Only weights above `weight`, and the first `ties` of those equal to it, stay in the pool.
void Sampler::keep(double weight, size_t ties) {
  size_t kept = 0;
  for (size_t i = 0; i < ids_.size(); ++i) {
    if (!(weights_[i] > weight) && !(weights_[i] == weight && ties > 0 && ties-- > 0)) continue;
    ids_[kept] = ids_[i];
    weights_[kept++] = weights_[i];
  }
  ids_.resize(kept);
  weights_.resize(kept);
}

int32_t Sampler::draw_from_pool() {
  double total = 0;
  for (const double weight : weights_) total += weight;
  return ids_[walk(weights_.data(), weights_.size(), 0, random_.uniform() * total)];
}

// The k best of the raw logits, best first; maxima_ must be theirs.
void Sampler::add_logprobs(const float* logits, Choice& choice) {
  const Candidate best = best_of(logits, vocabulary_, maxima_);
  if (best.logit == kInfinity) refuse(logits, nullptr);
  log_total_ = log_sum_exp(logits, vocabulary_, best.logit);
  top_candidates(logits, vocabulary_, static_cast<size_t>(options_.logprobs), maxima_, spare_, candidates_);
  sort_best_first(candidates_);
  choice.top.reserve(candidates_.size());
  for (const Candidate& c : candidates_) choice.top.push_back({c.id, static_cast<float>(c.logit - log_total_)});
}

void Sampler::refuse(const float* logits, const uint32_t* mask) const {
  size_t allowed = 0, nan = 0;
  for (size_t i = 0; i < vocabulary_; ++i) {
    if (mask != nullptr && ((mask[i / 32] >> (i % 32)) & 1U) == 0) continue;
    ++allowed;
    nan += std::isnan(logits[i]) ? 1 : 0;
    if (logits[i] == kInfinity) {
      throw BadArgument(cat("logits: expected numbers below +inf, got +inf for token ", i,
                            "; the weights or an earlier layer are damaged"));
    }
  }
  if (allowed == 0) {
    throw BadArgument(cat("mask: expected at least one allowed token of ", vocabulary_,
                          ", got none; the grammar or choice list that made it cannot go on from here"));
  }
  if (nan == allowed) {
    throw BadArgument(cat("logits: expected numbers, got NaN for all ", allowed,
                          " allowed tokens; the weights or an earlier layer are damaged"));
  }
  throw BadArgument(cat("logits: expected at least one above -inf among ", allowed, " allowed tokens, got -inf for ",
                        allowed - nan, " and NaN for ", nan, "; look at logit_bias and the mask"));
}

}  // namespace gemlet::sampling
