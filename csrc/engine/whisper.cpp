// Loading, and the jobs' steps; see whisper.h.
#include "engine/whisper.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "core/error.h"
#include "engine/compute.h"
#include "kernels/dispatch.h"

namespace gemlet::engine {
namespace {

constexpr int64_t kPromptPiece = 64;  // tokens

void check_ids(const Whisper& whisper, const std::vector<int32_t>& ids, const char* what) {
  const int64_t vocabulary = whisper.model().config().vocabulary;
  for (size_t i = 0; i < ids.size(); ++i)
    if (ids[i] < 0 || ids[i] >= vocabulary)
      throw BadArgument(cat(what, "[", i, "]: ", ids[i], " is outside the vocabulary, 0 to ", vocabulary - 1));
}

void check_rules(const Whisper& whisper, const WhisperRules& rules) {
  const int64_t vocabulary = whisper.model().config().vocabulary;
  check_ids(whisper, rules.never, "suppressed");
  check_ids(whisper, rules.not_first, "suppressed first");
  if (rules.end < 0 || rules.end >= vocabulary || rules.no_timestamps >= vocabulary || rules.first_timestamp < 0 ||
      rules.first_timestamp > vocabulary)
    throw BadArgument(cat("rules: expected ids of 0 to ", vocabulary - 1));
}

}  // namespace

Whisper::Whisper(const std::string& folder, int threads, const std::string& compute)
    : compute_(compute),
      team_(choose_threads(threads)),
      on_(kernels::active(), team_, choose_float(compute)),
      scheduler_([](std::vector<Turn>&) {}) {
  team_.region([&] { model_ = std::make_unique<const model::WhisperModel>(model::open_whisper(folder), on_); });
  mel_ = std::make_unique<const media::WhisperMel>(model_->config().mels);
  decoder_ = std::make_unique<model::WhisperDecoder>(*model_, on_);
  pages_ = std::make_unique<model::WhisperPages>(model_->config());
}

std::shared_ptr<model::Heard> Whisper::unheard() {
  std::unique_ptr<model::Heard> one;
  {
    const std::lock_guard<std::mutex> lock(spare_->mutex);
    one = std::move(spare_->heard);
  }
  if (one == nullptr) one = std::make_unique<model::Heard>();
  return {one.release(), [spare = spare_](model::Heard* heard) {
            std::unique_ptr<model::Heard> last(heard);
            const std::lock_guard<std::mutex> lock(spare->mutex);
            std::swap(spare->heard, last);  // one is kept: more would be memory that nobody asked for
          }};
}

WhisperHearJob::WhisperHearJob(Whisper& whisper, const float* samples, int64_t count, int64_t frames, bool blank)
    : whisper_(whisper), samples_(samples), count_(count), frames_(frames), blank_(blank) {
  if (count > media::kWhisperSamples)
    throw BadArgument(cat("samples: expected at most ", media::kWhisperSamples, " (30 s at 16 kHz), got ", count));
  if (frames < 2 || frames % 2 != 0 || frames > media::kWhisperFrames)
    throw BadArgument(cat("frames: expected an even number up to ", media::kWhisperFrames, ", got ", frames));
}

bool WhisperHearJob::step() {
  bool done = false;
  whisper_.on().team.region([&] {
    if (pass_ != nullptr) {
      done = pass_->step();
      return;
    }
    heard_ = whisper_.unheard();
    const Rows<float> frames = whisper_.frames().rows(media::kWhisperFrames, whisper_.mel().bands());
    whisper_.mel().frames(whisper_.on().team, samples_, count_, frames.data);
    const Rows<float> window(frames.data, frames_, frames.cols);
    if (blank_ && count_ / media::kWhisperHop < frames_)
      std::fill(window.row(count_ / media::kWhisperHop), window.row(frames_), 0.0F);
    pass_ = std::make_unique<model::WhisperEncoderPass>(whisper_.model(), whisper_.on(), window, whisper_.scratch(),
                                                        *heard_);
  });
  return done;
}

void WhisperHearJob::finished(std::exception_ptr /*failure*/) { pass_.reset(); }

WhisperSpeakJob::WhisperSpeakJob(Whisper& whisper, std::shared_ptr<const model::Heard> heard,
                                 std::vector<int32_t> prompt, int64_t start, int32_t no_speech, WhisperOptions options)
    : whisper_(whisper),
      heard_(std::move(heard)),
      prompt_(std::move(prompt)),
      start_(start),
      no_speech_(no_speech),
      search_(options) {
  const auto length = static_cast<int64_t>(prompt_.size()), positions = whisper.model().config().positions;
  check_ids(whisper, prompt_, "prompt");
  check_rules(whisper, options.rules);
  if (start < 0 || start >= length)
    throw BadArgument(cat("start: expected 0 to ", length - 1, ", the place of a token of the prompt, got ", start));
  if (no_speech >= whisper.model().config().vocabulary) throw BadArgument(cat("no_speech: no token ", no_speech));
  if (options.beams < 1 || options.beams > 64)
    throw BadArgument(cat("beam_size: expected 1 to 64, got ", options.beams));
  if (options.most_tokens < 1) throw BadArgument(cat("max_tokens: expected at least 1, got ", options.most_tokens));
  // The last token is chosen, but never run.
  if (length + options.most_tokens - 1 > positions)
    throw ContextOverflow(cat("whisper: a prompt of ", length, " tokens and ", options.most_tokens,
                              " new ones do not fit the model's ", positions,
                              "; shorten the prompt or lower max_tokens"));
  texts_ = options.temperature > 0 ? 1 : options.beams;
  tokens_ = options.most_tokens;
}

// The prompt, in pieces of equal size: what one needs does not grow with the text before it.
void WhisperSpeakJob::begin() {
  const int64_t vocabulary = whisper_.model().config().vocabulary;
  const auto length = static_cast<int64_t>(prompt_.size());
  whisper_.pages().reserve(texts_, tokens_);
  caches_.emplace_back(whisper_.model().config(), whisper_.pages());
  whisper_.logits().reserve(std::max<int64_t>(2, texts_) * vocabulary);
  const Rows<float> logits = whisper_.logits().rows(2, vocabulary);
  int64_t row = 0;
  for (int64_t at = 0; at < length; at += kPromptPiece) {
    const int64_t count = std::min(kPromptPiece, length - at);
    std::vector<int64_t> wanted;
    for (const int64_t place : {start_, length - 1})
      if (place >= at && place < at + count) wanted.push_back(place - at);
    const auto rows = static_cast<int64_t>(wanted.size());
    whisper_.decoder().run(*heard_, {{&caches_.front(), prompt_.data() + at, count}}, wanted,
                           {logits.row(row), rows, vocabulary});
    row += rows;
  }
  if (no_speech_ >= 0)
    silence_ = std::exp(static_cast<double>(logits.row(0)[no_speech_]) -
                        log_sum(whisper_.kernels(), logits.row(0), vocabulary).log);
  next_ = search_.step(whisper_.on(), {logits.row(1), 1, vocabulary});
}

// One token of each text that goes on. A text's cache is that of its parent; the pages are shared until one writes.
bool WhisperSpeakJob::step() {
  whisper_.on().team.region([&] {
    if (!begun_) {
      begun_ = true;
      begin();
      return;
    }
    std::vector<model::WhisperCache> grown;
    for (const WhisperSearch::Next& n : next_) grown.push_back(caches_[static_cast<size_t>(n.parent)]);
    caches_ = std::move(grown);
    std::vector<model::Spoken> texts;
    std::vector<int64_t> wanted;
    for (size_t i = 0; i < next_.size(); ++i) {
      texts.push_back({&caches_[i], &next_[i].token, 1});
      wanted.push_back(static_cast<int64_t>(i));
    }
    const Rows<float> logits =
        whisper_.logits().rows(static_cast<int64_t>(next_.size()), whisper_.model().config().vocabulary);
    whisper_.decoder().run(*heard_, texts, wanted, logits);
    next_ = search_.step(whisper_.on(), logits);
  });
  return next_.empty();
}

void WhisperSpeakJob::finished(std::exception_ptr /*failure*/) { caches_.clear(); }

WhisperLogitsJob::WhisperLogitsJob(Whisper& whisper, std::shared_ptr<const model::Heard> heard,
                                   std::vector<int32_t> tokens, float* logits)
    : whisper_(whisper), heard_(std::move(heard)), tokens_(std::move(tokens)), logits_(logits) {
  check_ids(whisper, tokens_, "tokens");
  if (tokens_.empty()) throw BadArgument("tokens: expected at least one, got none");
}

bool WhisperLogitsJob::step() {
  whisper_.on().team.region([&] {
    const auto count = static_cast<int64_t>(tokens_.size());
    std::vector<int64_t> wanted;
    for (int64_t i = 0; i < count; ++i) wanted.push_back(i);
    model::WhisperCache cache(whisper_.model().config(), whisper_.pages());
    whisper_.decoder().run(*heard_, {{&cache, tokens_.data(), count}}, wanted,
                           {logits_, count, whisper_.model().config().vocabulary});
  });
  return true;
}

}  // namespace gemlet::engine
