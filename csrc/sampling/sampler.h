// Logits -> one id, from explicit options, an explicit random state and an optional mask. Knows no model and no text.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

namespace gemlet::sampling {

struct Options {
  float temperature = 1.0F;        // 0: greedy
  int32_t top_k = 0;               // 0: off
  float top_p = 1.0F;              // 1: off
  float min_p = 0.0F;              // 0: off
  float repeat_penalty = 1.0F;     // 1: off; logits of seen ids divided (positive) or multiplied (negative)
  float presence_penalty = 0.0F;   // subtracted once from seen ids
  float frequency_penalty = 0.0F;  // subtracted for each occurrence
  int32_t penalty_window = 64;     // how many of the last ids (prompt included) repeat_penalty looks at; -1: all.
                                   // presence and frequency count generated ids only, as OpenAI's API does
  std::vector<std::pair<int32_t, float>> logit_bias;
  uint64_t seed = 0;
  int32_t logprobs = -1;  // -1: none; k: the chosen token's log-probability and the k best, before any penalty
};

// Throws BadArgument naming the option: non-finite, negative temperature, top_p outside (0, 1], min_p outside [0, 1), ...
void check(const Options& options, int64_t vocabulary);

// Philox-like counter state: the n-th draw of a seed is a function of (seed, n), so a restored session draws the same.
struct RandomState {
  uint64_t seed = 0, counter = 0;
  double uniform();  // [0, 1)
};

struct LogProb {
  int32_t id;
  float logprob;
};
struct Choice {
  int32_t id = -1;
  float logprob = 0;         // log softmax of the raw logits at id; only when options.logprobs >= 0
  std::vector<LogProb> top;  // best first
};

class Sampler {
 public:
  Sampler(Options options, int64_t vocabulary);
  void see_prompt(const int32_t* ids, size_t count);  // for repeat_penalty
  // logits (V): read only. mask: bit i set = id i allowed, null = all; (V + 31) / 32 words.
  // Ties go to the lower id. Throws BadArgument if the mask allows nothing or all allowed logits are -inf/NaN.
  Choice sample(const float* logits, const uint32_t* mask = nullptr);
  const Options& options() const { return options_; }
  RandomState state() const { return random_; }
  void restore(RandomState state) { random_ = state; }

 private:
  Options options_;
  int64_t vocabulary_;
  RandomState random_;
  std::vector<int32_t> history_;  // prompt and generated, in order
  size_t generated_ = 0;
  std::vector<float> scratch_;
};

}  // namespace gemlet::sampling
