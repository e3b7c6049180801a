// Which tokens follow: the likeliest, a draw, or a beam of several texts. Reads rows of logits, says which texts go on with
// which tokens; runs no model.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "engine/whisper_rules.h"
#include "ops/ops.h"
#include "sampling/sampler.h"

namespace gemlet::engine {

struct WhisperOptions {
  WhisperRules rules;
  int64_t beams = 1;
  double patience = 1;
  double length_penalty = 1;
  double temperature = 0;  // above 0: draws, one text
  uint64_t seed = 0;
  int64_t most_tokens = 0;
  std::vector<int32_t> given;  // the beginning of the text, which is not part of the answer
};

struct WhisperText {
  std::vector<int32_t> tokens;  // without the end
  double log_probability = 0;   // of all of them, and of the end
};

class WhisperSearch {
 public:
  explicit WhisperSearch(WhisperOptions options);
  // A text that goes on: the row it came from, and its new token.
  struct Next {
    int64_t parent;
    int32_t token;
  };
  // logits (texts alive, V), which it overwrites; at first one row. Returns the texts that go on; none: it is done.
  const std::vector<Next>& step(const ops::Context& on, Rows<float> logits);
  // The best text, after it is done.
  const WhisperText& best() const { return finished_.front(); }

 private:
  struct Candidate {
    double score;
    int64_t row;
    int32_t token;
  };
  void choose_one(const ops::Context& on, Rows<float> logits);
  void choose_beam(const ops::Context& on, Rows<float> logits);
  void widen(const float* logits, int64_t vocabulary, int64_t row);
  int32_t draw(const float* logits, int64_t vocabulary, const LogSum& sum);
  void finish(const WhisperText& text, const Candidate& last);
  void rank();
  std::vector<int32_t> said(const WhisperText& text) const;

  WhisperOptions options_;
  std::vector<WhisperText> alive_, finished_;
  std::vector<std::vector<Candidate>> candidates_;  // by row
  std::vector<Next> next_;
  sampling::RandomState random_;
  int64_t steps_ = 0;
};

}  // namespace gemlet::engine
