// Samples -> frames -> the tower; see hear.h.
#include "engine/hear.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace gemlet::engine {
namespace {

constexpr int64_t kPieceSeconds = 32;  // of a long sound that go through the tower together

const media::LogMel& tables() {
  static const media::LogMel mel;
  return mel;
}

const model::AudioTower& tower_of(const Engine& engine) {
  if (engine.audio() == nullptr)
    throw BadArgument(cat("sound: '", engine.decoder().config().name, "' has no part that hears"));
  return *engine.audio();
}

}  // namespace

Ear::Ear(Engine& engine, int64_t together)
    : config_(tower_of(engine).config()),
      together_(std::max<int64_t>(together, 1)),
      mel_(tables()),
      pass_(model::audio_pass(*engine.audio(), engine.on())) {}

void Ear::listen(const Team& team, const float* samples, int64_t count, bool last) {
  if (config_.encoder) return mel_.feed(team, samples, count, frames_);
  samples_.insert(samples_.end(), samples, samples + count);
  const auto size = static_cast<int64_t>(samples_.size());
  if (last && size % config_.frame != 0)  // the last frame is filled with silence
    samples_.resize(static_cast<size_t>((size / config_.frame + 1) * config_.frame), 0.0F);
  const int64_t whole = static_cast<int64_t>(samples_.size()) / config_.frame * config_.frame;
  frames_.insert(frames_.end(), samples_.begin(), samples_.begin() + whole);
  samples_.erase(samples_.begin(), samples_.begin() + whole);
}

HearJob::HearJob(Engine& engine, std::shared_ptr<Ear> ear, const float* samples, int64_t count, bool last)
    : engine_(engine), ear_(std::move(ear)), samples_(samples), left_(count), last_(last) {
  if (ear_->busy_.exchange(true))
    throw BadArgument("sound: another call is feeding it, or one did not end; begin anew");
  if (ear_->ended_) {
    ear_->busy_ = false;
    throw BadArgument("sound: it has ended; begin a new one");
  }
  ear_->ended_ = last;
}

// After a failure or a cancelled call nobody knows where the sound stands, so it stays busy.
void HearJob::finished(std::exception_ptr failure) {
  if (failure == nullptr) ear_->busy_ = false;
}

// Gives the tower its next frames; false where there is nothing to give it.
bool HearJob::advance() {
  const int64_t count = std::min(left_, kPieceSeconds * media::kSoundRate);
  left_ -= count;
  const bool end = last_ && left_ == 0;
  ear_->listen(engine_.on().team, samples_, count, end);
  samples_ += count;
  const int64_t frames_a_token = ear_->config_.encoder ? 4 : 1;
  if (!end && ear_->frames_waiting() < ear_->together_ * frames_a_token) return false;
  ear_->pass_->begin({ear_->frames_.data(), ear_->frames_waiting(), ear_->config_.frame}, end);
  ear_->frames_.clear();
  return true;
}

bool HearJob::step() {
  engine_.on().team.region([&] {
    if (!running_) {
      running_ = advance();
      done_ = !running_ && left_ == 0;
      return;
    }
    if (!ear_->pass_->step()) return;
    const Rows<const float> made = ear_->pass_->tokens();
    if (made.rows > 0) tokens_.insert(tokens_.end(), made.data, made.data + made.rows * made.cols);
    running_ = false;
    done_ = left_ == 0;
  });
  return done_;
}

}  // namespace gemlet::engine
