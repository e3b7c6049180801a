// The two convolutions before the encoder: each halves time and frequency. Keeps the few frames that the next token needs.
#pragma once

#include <vector>

#include "core/tensor.h"
#include "model/audio_weights.h"
#include "ops/ops.h"

namespace gemlet::model {

class AudioSubsample {
 public:
  AudioSubsample(const AudioConfig& config, const AudioWeights& weights, ops::Context& on)
      : c_(config), w_(weights), on_(on) {}
  // Takes the next frames (n, bands): how many tokens they complete.
  int64_t feed(Rows<const float> frames, bool last);
  // x (n, bands / 4 * maps[1]) <- the next n tokens, frequency after frequency; n is at most what feed() said is left.
  void next(Rows<float> x);

 private:
  void first_convolution(int64_t row, float* out) const;
  void gather(int64_t first_row, int64_t token, Rows<float> patches) const;

  const AudioConfig& c_;
  const AudioWeights& w_;
  ops::Context& on_;
  std::vector<float> frames_;  // from frame first_ on
  int64_t first_ = 0, frames_seen_ = 0, done_ = 0;
  bool ended_ = false;
  Buffer<float> rows_, patches_;
  ops::Quantised quantised_;
};

}  // namespace gemlet::model
