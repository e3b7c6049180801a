// Loading, and the pass of the 12B: each frame of samples by itself.
#include "model/audio_tower.h"

#include <utility>

#include "core/error.h"

namespace gemlet::model {
namespace {

// tokens = rms_norm(frame) W^T
class ProjectionPass final : public AudioPass {
 public:
  ProjectionPass(const AudioTower& tower, ops::Context& on) : tower_(tower), on_(on) {}
  void begin(Rows<const float> frames, bool /*last*/) override {
    frames_ = frames_memory_.rows(frames.rows, frames.cols);
    ops::copy(on_, frames, frames_);
  }
  bool step() override {
    tokens_ = tokens_memory_.rows(frames_.rows, tower_.config().out);
    ops::norm(on_, frames_, nullptr, tower_.config().eps, frames_);
    ops::linear(on_, frames_, {{&tower_.weights().projection, tokens_}}, quantised_);
    return true;
  }
  Rows<const float> tokens() const override { return tokens_; }

 private:
  const AudioTower& tower_;
  ops::Context& on_;
  Buffer<float> frames_memory_, tokens_memory_;
  Rows<float> frames_, tokens_;
  ops::Quantised quantised_;
};

}  // namespace

AudioTower::AudioTower(std::shared_ptr<const AudioFile> file, int64_t out)
    : file_(std::move(file)), config_(file_->config()), weights_(AudioWeights::from(*file_, config_)) {
  if (config_.out != out)
    throw BadFile(cat(file_->format(), ": '", file_->path(), "': its tokens of sound have ", config_.out,
                      " values, the model's ", out, "; it was made for another model"));
}

std::unique_ptr<AudioPass> audio_pass(const AudioTower& tower, ops::Context& on) {
  if (tower.config().encoder) return audio_encoder_pass(tower, on);
  return std::make_unique<ProjectionPass>(tower, on);
}

}  // namespace gemlet::model
