// The part that hears: frames of sound in, soft tokens out. Nothing in it looks into the future or at absolute positions, so
// a sound of any length goes through in pieces, and what is kept between two is a few rows a layer. The tower is read-only
// and shared; a pass is one sound on its way.
#pragma once

#include <cstdint>
#include <memory>

#include "core/tensor.h"
#include "model/audio_weights.h"
#include "ops/ops.h"

namespace gemlet::model {

class AudioTower {
 public:
  // Throws BadFile if the file is damaged, or made for a decoder of another width than `out`.
  AudioTower(std::shared_ptr<const AudioFile> file, int64_t out);
  const AudioConfig& config() const { return config_; }
  const AudioWeights& weights() const { return weights_; }
  const AudioFile& file() const { return *file_; }

 private:
  std::shared_ptr<const AudioFile> file_;
  AudioConfig config_;
  AudioWeights weights_;
};

class AudioPass {
 public:
  virtual ~AudioPass() = default;
  // The sound's next frames (n, frame), copied; the last ones, maybe none, complete what waits for a neighbour. How a sound
  // is cut into pieces changes no bit of its tokens.
  virtual void begin(Rows<const float> frames, bool last) = 0;
  // The next part of the work on them: true once done. Bounded, so that between two parts a caller can be cancelled.
  virtual bool step() = 0;
  // (n, D), what they completed, until the next begin().
  virtual Rows<const float> tokens() const = 0;
};

// `tower` and `on` must outlive it.
std::unique_ptr<AudioPass> audio_pass(const AudioTower& tower, ops::Context& on);
// The encoder's; audio_pass chooses.
std::unique_ptr<AudioPass> audio_encoder_pass(const AudioTower& tower, ops::Context& on);

}  // namespace gemlet::model
