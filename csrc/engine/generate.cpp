// The generation loop; see generate.h.
#include "engine/generate.h"

#include <algorithm>
#include <cstring>

#include "core/error.h"

namespace gemlet::engine {
namespace {

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

GenerateJob::GenerateJob(Engine& engine, std::vector<int32_t> ids, GenerateOptions options)
    : engine_(engine),
      prompt_(std::move(ids)),
      options_(std::move(options)),
      sampler_(options_.sampling, engine_.decoder().config().vocabulary),
      cache_(engine_.new_cache()),
      stop_(options_.stop),
      submitted_(Clock::now()),
      started_(submitted_),
      decoding_(submitted_) {
  engine_.check_ids(prompt_);
  if (options_.max_tokens < 0) throw BadArgument(cat("max_tokens: expected 0 or more, got ", options_.max_tokens));
  sampler_.see_prompt(prompt_.data(), prompt_.size());
}

bool GenerateJob::next(int milliseconds, Event& event) {
  std::unique_lock<std::mutex> lock(events_mutex_);
  events_changed_.wait_for(lock, std::chrono::milliseconds(milliseconds),
                           [&] { return !events_.empty() || events_failure_; });
  if (!events_.empty()) {
    event = std::move(events_.front());
    events_.pop_front();
    return true;
  }
  if (events_failure_) std::rethrow_exception(events_failure_);
  return false;
}

void GenerateJob::push(Event event) {
  const std::lock_guard<std::mutex> lock(events_mutex_);
  events_.push_back(std::move(event));
  events_changed_.notify_all();
}

bool GenerateJob::step() {
  if (cache_.length() == 0) started_ = Clock::now();
  if (cache_.length() < static_cast<int64_t>(prompt_.size())) {
    read_block();
    return ended_;
  }
  const sampling::Choice choice = sampler_.sample(logits_.data());
  if (accept(choice)) return true;
  engine_.on().team.region([&] {
    compute_logits(engine_.decoder().forward(engine_.on(), {{&cache_, &choice.id, 1, {0}}}, engine_.state()));
  });
  return false;
}

void GenerateJob::read_block() {
  const int64_t first = cache_.length(), total = static_cast<int64_t>(prompt_.size());
  const int64_t count = std::min(engine_.block(), total - first);
  engine_.on().team.region([&] {
    const bool is_last = first + count == total;
    const std::vector<int64_t> wanted = is_last ? std::vector<int64_t>{count - 1} : std::vector<int64_t>{};
    const Rows<const float> h =
        engine_.decoder().forward(engine_.on(), {{&cache_, prompt_.data() + first, count, wanted}}, engine_.state());
    if (is_last) compute_logits(h);
  });
  if (cache_.length() < total) {
    engine_.note_scratch();
    Event event;
    event.kind = Event::Kind::Prefill;
    event.done = cache_.length(), event.total = total;
    push(std::move(event));
    return;
  }
  decoding_ = Clock::now();
  if (options_.max_tokens == 0) end("length");
}

// logits_ (V) from h (1, D), the state of the last token.
void GenerateJob::compute_logits(Rows<const float> h) {
  const int64_t v = engine_.decoder().config().vocabulary;
  logits_.resize(static_cast<size_t>(v));
  engine_.decoder().head(engine_.on(), h, {logits_.data(), 1, v}, engine_.state());
  engine_.note_scratch();
}

bool GenerateJob::accept(const sampling::Choice& choice) {
  const std::vector<int32_t>& ends = engine_.end_ids();
  if (!options_.ignore_eos && std::find(ends.begin(), ends.end(), choice.id) != ends.end()) {
    end("stop");
    return true;
  }
  ++generated_;
  Event event;
  const bool named = static_cast<size_t>(choice.id) < engine_.tokenizer().vocabulary().pieces.size();
  if (named) event.text = stop_.push(utf8_.push(engine_.tokenizer().piece(choice.id)));
  event.ids.push_back(choice.id);
  if (options_.sampling.logprobs >= 0) event.choices.push_back(choice);
  push(std::move(event));
  if (stop_.met())
    end("stop");
  else if (generated_ >= options_.max_tokens || cache_.length() >= engine_.context())
    end("length");
  return ended_;
}

void GenerateJob::end(const std::string& reason) {
  const Clock::time_point now = Clock::now();
  Event event;
  event.kind = Event::Kind::End;
  event.text = stop_.push(utf8_.finish());
  event.text += stop_.finish();
  event.finish_reason = reason;
  event.stop = stop_.which();
  event.prompt_tokens = static_cast<int64_t>(prompt_.size());
  event.completion_tokens = generated_;
  event.queue_s = seconds(started_ - submitted_);
  const bool decoded = cache_.length() >= event.prompt_tokens;
  event.prefill_s = seconds((decoded ? decoding_ : now) - started_);
  event.decode_s = decoded ? seconds(now - decoding_) : 0;
  ended_ = true;
  push(std::move(event));
}

void GenerateJob::finished(std::exception_ptr failure) {
  if (!failure || ended_) return;
  try {
    std::rethrow_exception(failure);
  } catch (const Cancelled&) {
    end("cancelled");
    return;
  } catch (...) {
    // Not lost: next() throws it to whoever reads the stream.
  }
  const std::lock_guard<std::mutex> lock(events_mutex_);
  events_failure_ = failure;
  events_changed_.notify_all();
}

}  // namespace gemlet::engine
