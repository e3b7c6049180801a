// A loaded Whisper model with what runs it, on a thread of its own: sound -> Heard, Heard and a prompt -> text as token ids.
// Many threads may call; their jobs take turns, a step each. Knows no vocabulary but ids.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "core/parallel.h"
#include "engine/scheduler.h"
#include "engine/whisper_search.h"
#include "media/whisper_mel.h"
#include "model/whisper_model.h"
#include "ops/ops.h"

namespace gemlet::engine {

class Whisper {
 public:
  // threads: 0: all this process may use. compute: "auto" multiplies in 8 bits, "float32" loses none.
  Whisper(const std::string& folder, int threads, const std::string& compute);
  const model::WhisperModel& model() const { return *model_; }
  int threads() const { return team_.threads(); }
  const std::string& compute() const { return compute_; }
  const kernels::Table& kernels() const { return on_.kernels; }
  Scheduler& scheduler() { return scheduler_; }

  // For jobs, on the engine's thread.
  ops::Context& on() { return on_; }
  const media::WhisperMel& mel() const { return *mel_; }
  model::WhisperDecoder& decoder() { return *decoder_; }
  model::WhisperEncoderScratch& scratch() { return scratch_; }
  model::WhisperPages& pages() { return *pages_; }
  Buffer<float>& frames() { return frames_; }
  Buffer<float>& logits() { return logits_; }
  // To be filled; its memory is that of one that nobody holds any more, if there is one. On any thread.
  std::shared_ptr<model::Heard> unheard();

 private:
  std::string compute_;
  Team team_;
  ops::Context on_;
  std::unique_ptr<const model::WhisperModel> model_;
  std::unique_ptr<const media::WhisperMel> mel_;
  std::unique_ptr<model::WhisperDecoder> decoder_;
  std::unique_ptr<model::WhisperPages> pages_;
  model::WhisperEncoderScratch scratch_;
  Buffer<float> frames_, logits_;
  // The last that was given back. Whoever holds one may outlive the engine.
  struct Spare {
    std::mutex mutex;
    std::unique_ptr<model::Heard> heard;
  };
  std::shared_ptr<Spare> spare_ = std::make_shared<Spare>();
  Scheduler scheduler_;  // last: its thread must end before what it uses
};

// Up to 30 seconds of sound.
class WhisperHearJob final : public Job {
 public:
  // samples at 16 kHz, which must stay until the job ends. frames: of the window, up to 3000. blank: what follows the
  // sound are frames of zeros, not of silence. Throws BadArgument for more than 30 s.
  WhisperHearJob(Whisper& whisper, const float* samples, int64_t count, int64_t frames, bool blank);
  std::shared_ptr<const model::Heard> heard() const { return heard_; }  // after the job

 private:
  bool step() override;
  void finished(std::exception_ptr failure) override;
  Whisper& whisper_;
  const float* samples_;
  int64_t count_, frames_;
  bool blank_;
  std::shared_ptr<model::Heard> heard_;
  std::unique_ptr<model::WhisperEncoderPass> pass_;
};

// The text of what was heard.
class WhisperSpeakJob final : public Job {
 public:
  // prompt: all tokens before the text's own. start: where <|startoftranscript|> is in it, no_speech: the token whose
  // probability there says that nobody speaks; -1: none. Throws BadArgument, ContextOverflow.
  WhisperSpeakJob(Whisper& whisper, std::shared_ptr<const model::Heard> heard, std::vector<int32_t> prompt,
                  int64_t start, int32_t no_speech, WhisperOptions options);
  const WhisperText& text() const { return search_.best(); }  // after the job
  double no_speech_probability() const { return silence_; }

 private:
  bool step() override;
  void finished(std::exception_ptr failure) override;
  void begin();
  Whisper& whisper_;
  std::shared_ptr<const model::Heard> heard_;
  std::vector<int32_t> prompt_;
  int64_t start_, texts_ = 1, tokens_ = 1;  // tokens: of a text, at most
  int32_t no_speech_;
  WhisperSearch search_;
  std::vector<WhisperSearch::Next> next_;
  std::vector<model::WhisperCache> caches_;  // of the texts that go on
  double silence_ = 0;
  bool begun_ = false;
};

// logits (n, V) after each of n tokens.
class WhisperLogitsJob final : public Job {
 public:
  WhisperLogitsJob(Whisper& whisper, std::shared_ptr<const model::Heard> heard, std::vector<int32_t> tokens,
                   float* logits);

 private:
  bool step() override;
  Whisper& whisper_;
  std::shared_ptr<const model::Heard> heard_;
  std::vector<int32_t> tokens_;
  float* logits_;
};

}  // namespace gemlet::engine
