// Generation as a job: read the prompt in blocks, then sample, stop and stream, one token a step.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <vector>

#include "engine/engine.h"
#include "engine/stop_text.h"
#include "sampling/sampler.h"
#include "text/utf8_stream.h"

namespace gemlet::engine {

struct GenerateOptions {
  int64_t max_tokens = 256;
  bool ignore_eos = false;
  std::vector<std::string> stop;  // UTF-8; none may be empty
  sampling::Options sampling;
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
  double queue_s = 0, prefill_s = 0, decode_s = 0;
};

class GenerateJob final : public Job {
 public:
  // Throws BadArgument, ContextOverflow.
  GenerateJob(Engine& engine, std::vector<int32_t> ids, GenerateOptions options);

  // The next event, waiting at most this long; false: none yet. Throws what the engine threw.
  bool next(int milliseconds, Event& event);

 private:
  using Clock = std::chrono::steady_clock;
  bool step() override;
  void finished(std::exception_ptr failure) override;
  void read_block();
  bool accept(const sampling::Choice& choice);  // true: that was the last token
  void compute_logits(Rows<const float> h);
  void push(Event event);
  void end(const std::string& reason);

  Engine& engine_;
  std::vector<int32_t> prompt_;
  GenerateOptions options_;
  sampling::Sampler sampler_;
  model::KvCache cache_;
  text::Utf8Stream utf8_;
  StopText stop_;
  std::vector<float> logits_;  // (V) of the last token, kept while other jobs run
  int64_t generated_ = 0;
  bool ended_ = false;
  Clock::time_point submitted_, started_, decoding_;

  std::mutex events_mutex_;
  std::condition_variable events_changed_;
  std::deque<Event> events_;
  std::exception_ptr events_failure_;
};

}  // namespace gemlet::engine
