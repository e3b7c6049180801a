// Sound as soft tokens: an Ear is one sound on its way, in pieces of any length, and keeps no more than the next token needs.
// A HearJob takes one piece through it, in parts, so that other calls take their turns in between.
#pragma once

#include <atomic>
#include <memory>
#include <vector>

#include "engine/engine.h"
#include "media/mel.h"
#include "model/audio_tower.h"

namespace gemlet::engine {

class Ear {
 public:
  // together: tokens that go through the tower at least, unless the sound ends; more take less time each. Throws
  // BadArgument for an engine that does not hear.
  Ear(Engine& engine, int64_t together);

 private:
  friend class HearJob;
  int64_t frames_waiting() const { return static_cast<int64_t>(frames_.size()) / config_.frame; }
  void listen(const Team& team, const float* samples, int64_t count, bool last);

  const model::AudioConfig& config_;
  int64_t together_;
  media::MelStream mel_;
  std::unique_ptr<model::AudioPass> pass_;
  std::vector<float> samples_;  // less than a frame of samples, where there are no mels
  std::vector<float> frames_;   // (n, frame), not in the tower yet
  std::atomic<bool> busy_{false};
  bool ended_ = false;
};

class HearJob final : public Job {
 public:
  // 16 kHz samples that must stay until the job ends; last: the sound ends with them. Throws BadArgument for a sound that
  // has ended, failed, or is being heard by another job.
  HearJob(Engine& engine, std::shared_ptr<Ear> ear, const float* samples, int64_t count, bool last);
  const std::vector<float>& tokens() const { return tokens_; }  // (n, D), after the job

 private:
  bool step() override;
  void finished(std::exception_ptr failure) override;
  bool advance();
  Engine& engine_;
  std::shared_ptr<Ear> ear_;
  const float* samples_;
  int64_t left_;
  bool last_, running_ = false, done_ = false;
  std::vector<float> tokens_;
};

}  // namespace gemlet::engine
