// The generation loop; see generate.h.
#include "engine/generate.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

#include "core/error.h"

namespace gemlet::engine {
namespace {

// Ids that the model's makers want never drawn are not, but for those that the caller himself has an opinion of.
sampling::Options with_bans(sampling::Options options, const std::vector<int32_t>& suppressed) {
  const auto given = options.logit_bias;
  for (const int32_t id : suppressed)
    if (std::none_of(given.begin(), given.end(), [id](const auto& bias) { return bias.first == id; }))
      options.logit_bias.emplace_back(id, -std::numeric_limits<float>::infinity());
  return options;
}

double seconds(std::chrono::steady_clock::duration d) { return std::chrono::duration<double>(d).count(); }

}  // namespace

GenerateJob::GenerateJob(Engine& engine, model::Prompt prompt, GenerateOptions options)
    : engine_(engine),
      prompt_(engine_.admitted(std::move(prompt))),
      options_(std::move(options)),
      sampler_(with_bans(options_.sampling, engine_.decoder().config().suppress),
               engine_.decoder().config().vocabulary),
      gate_(options_.constraint, options_.constraint_after, engine_.decoder().config().vocabulary,
            options_.sampling.logprobs >= 0),
      cache_(engine_.new_cache()),
      stop_(options_.stop),
      speculator_(engine_.draft_kind(), engine_.drafter(), options_.drafts),
      submitted_(Clock::now()),
      started_(submitted_),
      decoding_(submitted_) {
  if (options_.max_tokens < 0) throw BadArgument(cat("max_tokens: expected 0 or more, got ", options_.max_tokens));
  if (options_.constraint && options_.ignore_eos)
    throw BadArgument("ignore_eos: a constraint decides where the text may end; leave one of the two out");
  if (!std::is_sorted(options_.marks.begin(), options_.marks.end()))
    throw BadArgument("marks: expected ascending lengths");
  if (!prompt_.spans.empty()) {  // the next question about a picture begins like this one up to the picture's end token
    const int64_t after = std::min(prompt_.size(), prompt_.spans.back().end() + 1);
    options_.marks.insert(std::upper_bound(options_.marks.begin(), options_.marks.end(), after), after);
  }
  sampler_.see_prompt(prompt_.ids.data(), prompt_.ids.size());
  history_ = prompt_.first(prompt_.size());
  if (options_.drafts < -1 || options_.drafts > DraftPace::kMost)
    throw BadArgument(
        cat("drafts: expected 0 to ", DraftPace::kMost, ", or -1 for as many as pay, got ", options_.drafts));
  for (const int32_t id : prompt_.ids) speculator_.read(id);
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

// Takes over what the session, or anyone else, has read of this prompt. The last token always runs: its state is wanted.
void GenerateJob::start() {
  started_ = Clock::now();
  started_reading_ = true;
  const int64_t most = prompt_.size() - 1;
  std::pair<std::shared_ptr<const Snapshot>, int64_t> known;
  if (options_.session) known = options_.session->find(prompt_, most);
  if (const auto other = engine_.prefixes().find(prompt_, most); other.second > known.second) known = other;
  if (known.first == nullptr) return;
  cache_ = known.first->kv;
  cache_.rewind(known.second);
  read_ = cached_ = known.second;
}

model::Piece GenerateJob::piece(int64_t room, bool alone) {
  if (!started_reading_) start();
  timed_ = false;
  if (reads()) return next_block(room);
  began_ = Clock::now();
  timed_ = alone && pending_.size() == 1;
  block_ = pending_;
  guess(alone);
  std::vector<int64_t> wanted(block_.size() - pending_.size() + 1);
  std::iota(wanted.begin(), wanted.end(), static_cast<int64_t>(pending_.size()) - 1);
  return {&cache_, block_.data(), static_cast<int64_t>(block_.size()), wanted};
}

// Only where the step is not shared: what guesses save is reading the weights again, which sharing saves already.
void GenerateJob::guess(bool alone) {
  static_assert(DraftPace::kMost <= model::kRewind);
  const auto pending = static_cast<int64_t>(pending_.size());
  const int64_t room = std::min(options_.max_tokens - generated_ - 1, engine_.context() - cache_.length() - pending);
  engine_.on().team.region([&] {
    const std::vector<int32_t>& ids =
        speculator_.propose(engine_.on(), engine_.draft_state(), cache_, state_.empty() ? nullptr : state_.data(),
                            alone ? std::max<int64_t>(0, room) : 0);
    block_.insert(block_.end(), ids.begin(), ids.end());
  });
}

model::Piece GenerateJob::next_block(int64_t room) {
  const int64_t total = prompt_.size();
  const auto mark = std::upper_bound(options_.marks.begin(), options_.marks.end(), read_);
  const int64_t stop = mark != options_.marks.end() ? std::min(*mark, total) : total;
  const int64_t count = prompt_.step(read_, std::min(room, stop - read_));
  const bool is_last = read_ + count == total;
  if (is_last) gate_.look();
  return {&cache_, prompt_.ids.data() + read_, count,
          is_last ? std::vector<int64_t>{count - 1} : std::vector<int64_t>{}, &prompt_};
}

bool GenerateJob::take(Rows<const float> h, Rows<const float> logits) {
  if (reads()) {
    read_ = cache_.length();
    const bool marked = std::binary_search(options_.marks.begin(), options_.marks.end(), read_);
    if (marked || !reads()) keep(marked);
    if (reads()) {
      Event event;
      event.kind = Event::Kind::Prefill;
      event.done = read_, event.total = prompt_.size();
      push(std::move(event));
      return false;
    }
    decoding_ = Clock::now();
    if (options_.max_tokens == 0) {
      end("length");
      return true;
    }
  }
  if (timed_) speculator_.took(seconds(Clock::now() - began_));
  return choose(h, logits);
}

// Every token is sampled as it would be without guesses, so it is the same: a guess that is that token has been run
// already, and the next row stands ready. Then those tokens that nothing else could stand for: they need no logits and are
// run as one block.
bool GenerateJob::choose(Rows<const float> h, Rows<const float> logits) {
  const Profile::Scope scope(engine_.on().profile, Operation::Sampling);
  settled_ = cache_.length() - (h.rows - 1);
  pending_.clear();
  int64_t row = 0;
  do {
    const float* x = gate_.forced() >= 0 ? nullptr : logits.rows > 0 ? logits.row(row) : allowed_logits(h, row);
    const sampling::Choice choice = x == nullptr ? sampler_.take(gate_.forced()) : sampler_.sample(x, gate_.mask());
    const bool guessed = pending_.empty() && speculator_.confirm(choice.id);
    if (accept(choice)) return true;
    gate_.look();
    if (guessed)
      ++row, ++settled_;
    else
      pending_.push_back(choice.id);
  } while (pending_.empty() ||
           (gate_.forced() >= 0 && static_cast<int64_t>(pending_.size()) < engine_.block() && !cancelled()));
  cache_.rewind(settled_);
  state_.clear();
  if (speculator_.kind() == DraftKind::Assistant && pending_.size() == 1)
    state_.assign(h.row(row), h.row(row) + h.cols);
  return false;
}

// (V) from a row of h: the rows of the head that the gate allows, -inf elsewhere; all where it allows them all.
const float* GenerateJob::allowed_logits(Rows<const float> h, int64_t row) {
  const std::vector<int32_t>& rows = gate_.rows();
  const int64_t v = engine_.decoder().config().vocabulary;
  const Rows<const float> state(h.row(row), 1, h.cols);
  logits_.assign(static_cast<size_t>(v), -std::numeric_limits<float>::infinity());
  some_.resize(rows.size());
  engine_.on().team.region([&] {
    if (rows.empty())
      engine_.decoder().head(engine_.on(), state, {logits_.data(), 1, v}, engine_.state());
    else
      engine_.decoder().head_rows(engine_.on(), state, rows, some_.data(), engine_.state());
  });
  for (size_t i = 0; i < rows.size(); ++i) logits_[static_cast<size_t>(rows[i])] = some_[i];
  return logits_.data();
}

// What is in the cache now, for prompts to come.
void GenerateJob::keep(bool marked) {
  (options_.session ? *options_.session : engine_.prefixes()).add(history_.first(cache_.length()), cache_, marked);
}

bool GenerateJob::accept(const sampling::Choice& choice) {
  const std::vector<int32_t>& ends = engine_.end_ids();
  if (!options_.ignore_eos && std::find(ends.begin(), ends.end(), choice.id) != ends.end()) {
    if (gate_.waiting())
      throw SchemaError(cat("generate: the model ended its answer before token ", gate_.opens_after(),
                            ", behind which the constraint begins; ask again, or without the part before it"));
    end("stop");
    return true;
  }
  ++generated_;
  history_.ids.push_back(choice.id);
  speculator_.read(choice.id);
  Event event;
  const bool named = static_cast<size_t>(choice.id) < engine_.tokenizer().vocabulary().pieces.size();
  if (named) event.text = stop_.push(utf8_.push(engine_.tokenizer().piece(choice.id)));
  event.ids.push_back(choice.id);
  if (options_.sampling.logprobs >= 0) event.choices.push_back(choice);
  push(std::move(event));
  if (!stop_.met()) gate_.accept(choice.id);
  if (stop_.met() || gate_.finished())
    end("stop");
  else if (generated_ >= options_.max_tokens || prompt_.size() + generated_ > engine_.context())
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
  event.prompt_tokens = prompt_.size();
  event.completion_tokens = generated_;
  event.cached_tokens = cached_;
  event.drafts = speculator_.kind();
  event.drafted = speculator_.drafted(), event.accepted = speculator_.accepted();
  event.queue_s = seconds(started_ - submitted_);
  const bool decoded = !reads();
  event.prefill_s = seconds((decoded ? decoding_ : now) - started_);
  event.decode_s = decoded ? seconds(now - decoding_) : 0;
  ended_ = true;
  if (settled_ > 0) cache_.rewind(settled_);  // guesses that nobody has looked at are no part of the text
  keep();  // also of a call that was cancelled: whoever asks again need not wait for it again
  cache_ = engine_.new_cache();
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
