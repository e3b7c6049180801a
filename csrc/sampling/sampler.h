// Logits -> one id, from explicit options, an explicit random state and an optional mask. Knows no model and no text.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "sampling/select.h"

namespace gemlet::sampling {

struct Options {
  float temperature = 1.0F;        // 0: greedy
  int32_t top_k = 0;               // 0: off; more than the vocabulary: all
  float top_p = 1.0F;              // 1: off
  float min_p = 0.0F;              // 0: off
  float repeat_penalty = 1.0F;     // 1: off; logits of seen ids divided (positive) or multiplied (negative)
  float presence_penalty = 0.0F;   // subtracted once from seen ids
  float frequency_penalty = 0.0F;  // subtracted for each occurrence
  int32_t penalty_window = 64;     // how many of the last ids (prompt included) repeat_penalty looks at; -1: all.
                                   // presence and frequency count generated ids only, as OpenAI's API does
  std::vector<std::pair<int32_t, float>> logit_bias;  // added; -inf bans an id
  uint64_t seed = 0;
  int32_t logprobs = -1;  // -1: none; k: the chosen token's log-probability and the k best, of the raw logits
};

// Throws BadArgument naming the option: non-finite, negative temperature, top_p outside (0, 1], ...
void check(const Options& options, int64_t vocabulary);

// Philox4x32-10 over a counter: the n-th draw of a seed is a function of (seed, n), so a restored session draws the same.
struct RandomState {
  uint64_t seed = 0, counter = 0;
  double uniform();  // [0, 1), a multiple of 2^-53; adds one to counter
};

struct LogProb {
  int32_t id;
  float logprob;
};
struct Choice {
  int32_t id = -1;
  float logprob = 0;         // log softmax of the raw logits at id; only when options.logprobs >= 0
  std::vector<LogProb> top;  // best first, ties to the lower id; fewer than asked if fewer logits are above -inf
};

// The order of things, as in transformers: logit_bias, penalties, mask, then with temperature 0 the largest (ties: lower
// id), else temperature, top_k (exactly k, ties: lower id), top_p (the smallest set of largest probabilities whose sum
// reaches it, out of what top_k left; equal probabilities: lower id), min_p (at least min_p times the largest), and one
// draw, which walks what is left in ascending id order. One draw takes one step of the random state, greedy takes none.
// Probabilities are doubles in a fixed order with an own exp, so the same logits give the same id on every machine. NaN
// logits count as -inf.
class Sampler {
 public:
  Sampler(Options options, int64_t vocabulary);
  void see_prompt(const int32_t* ids, size_t count);  // for repeat_penalty
  // logits (V): read only. mask: bit i set = id i allowed, null = all; (V + 31) / 32 words.
  // Throws BadArgument, and changes nothing, if the mask allows nothing, all allowed logits are -inf/NaN, or one is +inf.
  Choice sample(const float* logits, const uint32_t* mask = nullptr);
  // The only id that may come: what sample() would do, random state included, without logits.
  Choice take(int32_t id);
  const Options& options() const { return options_; }
  RandomState state() const { return random_; }
  void restore(RandomState state) { random_ = state; }

 private:
  const float* edited(const float* logits, const uint32_t* mask);  // logits itself where no option changes them
  void apply_bias_and_penalties();
  void apply_mask(const uint32_t* mask);
  int32_t draw(const float* x, double max);
  int32_t draw_from_all(const float* x, double max);
  int32_t draw_from_pool();
  void pool_top_k(const float* x, double max);
  void pool_top_p(const float* x, double max);
  void pool_min_p(const float* x, double max);
  void keep(double weight, size_t ties);
  void add_logprobs(const float* logits, Choice& choice);
  void push_history(int32_t id);
  void remember(int32_t id);
  [[noreturn]] void refuse(const float* logits, const uint32_t* mask) const;
  bool uses_history() const { return options_.repeat_penalty != 1.0F && options_.penalty_window != 0; }
  bool counts_generated() const { return options_.presence_penalty != 0.0F || options_.frequency_penalty != 0.0F; }

  Options options_;
  size_t vocabulary_;
  RandomState random_;
  std::vector<int32_t> history_;  // what repeat_penalty may look at: in order, or distinct for window -1
  std::vector<bool> seen_;        // marks ids while history_ is made distinct
  std::vector<std::pair<int32_t, int32_t>> generated_;  // (id, how often), ascending ids
  // Scratch, kept so that a token costs no allocation.
  std::vector<float> edited_, maxima_, spare_;
  std::vector<Candidate> candidates_;
  std::vector<int32_t> ids_;     // the pool: what may still be drawn, ascending ids,
  std::vector<double> weights_;  // and exp((logit - max) / temperature) of each
  std::vector<double> sums_, doubtful_;
  double log_total_ = 0;  // of the raw logits, when logprobs are asked for
};

}  // namespace gemlet::sampling
