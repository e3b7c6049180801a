// Generation as a job: read what of the prompt is not known yet, then sample, stop and stream, one token a step.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "engine/batch.h"
#include "engine/constraint.h"
#include "engine/engine.h"
#include "engine/speculate.h"
#include "engine/stop_text.h"
#include "sampling/sampler.h"
#include "text/utf8_stream.h"

namespace gemlet::engine {

struct GenerateOptions {
  int64_t max_tokens = 256;
  bool ignore_eos = false;
  std::vector<std::string> stop;  // UTF-8; none may be empty
  sampling::Options sampling;
  std::shared_ptr<Constraint> constraint;  // for this generation alone; null: none
  int32_t constraint_after = -1;           // the id behind which it begins; -1: with the first token
  int64_t drafts = -1;                     // verified in each step; 0: none, -1: as many as pay. Changes no token
  std::vector<int64_t> marks;              // lengths of the prompt, ascending, that other prompts will begin with
  std::shared_ptr<PrefixCache> session;    // where what was read is kept, and looked for first; null: the engine's own
};

struct Event {
  enum class Kind { Prefill, Tokens, End } kind = Kind::Tokens;
  int64_t done = 0, total = 0;            // Prefill
  std::string text;                       // Tokens, End: valid UTF-8, never part of a stop string
  std::vector<int32_t> ids;               // Tokens
  std::vector<sampling::Choice> choices;  // Tokens: where logprobs were asked for
  // End
  std::string finish_reason;  // stop, length, cancelled
  std::string stop;           // the stop string that was met
  int64_t prompt_tokens = 0, completion_tokens = 0;
  int64_t cached_tokens = 0;  // of the prompt, not read again
  DraftKind drafts = DraftKind::Off;
  int64_t drafted = 0, accepted = 0;  // tokens guessed, and those of them that came true
  double queue_s = 0, prefill_s = 0, decode_s = 0;
};

class GenerateJob final : public SequenceJob {
 public:
  // Throws BadArgument, ContextOverflow.
  GenerateJob(Engine& engine, model::Prompt prompt, GenerateOptions options);

  // The next event, waiting at most this long; false: none yet. Throws what the engine threw.
  bool next(int milliseconds, Event& event);

 private:
  using Clock = std::chrono::steady_clock;
  bool reads() const override { return read_ < prompt_.size(); }
  model::Piece piece(int64_t room, bool alone) override;
  bool wants_logits() const override { return gate_.forced() < 0 && gate_.rows().empty(); }
  bool take(Rows<const float> h, Rows<const float> logits) override;
  void finished(std::exception_ptr failure) override;

  void start();                           // finds what of the prompt is known
  model::Piece next_block(int64_t room);  // of the prompt
  void guess(bool alone);                 // what may follow the pending tokens
  // The next tokens, from the states and, if they were wanted, logits of the last pending one and the guesses. True: the
  // last one was among them.
  bool choose(Rows<const float> h, Rows<const float> logits);
  bool accept(const sampling::Choice& choice);  // true: that was the last token
  const float* allowed_logits(Rows<const float> h, int64_t row);
  void keep(bool marked = false);
  void push(Event event);
  void end(const std::string& reason);

  Engine& engine_;
  model::Prompt prompt_;
  GenerateOptions options_;
  sampling::Sampler sampler_;
  Gate gate_;
  model::KvCache cache_;
  text::Utf8Stream utf8_;
  StopText stop_;
  bool started_reading_ = false;
  int64_t read_ = 0, cached_ = 0;  // tokens of the prompt in the cache; those that were there before
  model::Prompt history_;          // the prompt, without soft rows, and what was generated
  std::vector<int32_t> pending_;   // generated and not run yet
  Speculator speculator_;
  std::vector<int32_t> block_;  // the pending tokens and the guesses behind them, as they are run
  std::vector<float> state_;    // (D) what the one pending token was chosen from, for a drafter; else empty
  int64_t settled_ = 0;         // tokens in the cache that are no guesses
  bool timed_ = false;          // the step under way is one plain token, or one and guesses, and nobody shares it
  Clock::time_point began_;
  std::vector<float> logits_;  // (V) where the gate allows few
  std::vector<float> some_;    // of the rows that the gate allows
  int64_t generated_ = 0;
  bool ended_ = false;
  Clock::time_point submitted_, started_, decoding_;

  std::mutex events_mutex_;
  std::condition_variable events_changed_;
  std::deque<Event> events_;
  std::exception_ptr events_failure_;
};

}  // namespace gemlet::engine
