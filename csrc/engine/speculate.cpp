// The two sources of drafts behind one door; see speculate.h.
#include "engine/speculate.h"

#include <algorithm>
#include <utility>

namespace gemlet::engine {
namespace {

enum Trust { kDrafter = 0, kShortMatch = 1, kLongMatch = 2 };
constexpr int64_t kLong = 5;  // tokens of a match from which on it is seldom an accident

}  // namespace

const char* name_of(DraftKind kind) {
  return kind == DraftKind::Assistant ? "assistant" : kind == DraftKind::Lookup ? "lookup" : "off";
}

Speculator::Speculator(DraftKind kind, const model::Drafter* drafter, int64_t count)
    : kind_(count == 0 ? DraftKind::Off : kind), drafter_(drafter), pace_(count) {}

void Speculator::read(int32_t id) {
  if (kind_ == DraftKind::Lookup) lookup_.add(id);
  last_ = id;
}

const std::vector<int32_t>& Speculator::propose(ops::Context& on, model::State& scratch, model::KvCache& kv,
                                                const float* state, int64_t most) {
  if (!proposal_.empty()) pace_.judged(trust_, static_cast<int64_t>(proposal_.size()), static_cast<int64_t>(right_));
  proposal_.clear();
  right_ = 0, over_ = false;
  if (kind_ == DraftKind::Lookup) {
    PromptLookup::Match match = lookup_.find(std::min(most, DraftPace::kMost));
    trust_ = match.length >= kLong ? kLongMatch : kShortMatch;
    proposal_ = std::move(match.ids);
    proposal_.resize(static_cast<size_t>(pace_.choose(static_cast<int64_t>(proposal_.size()), trust_)));
  } else if (kind_ == DraftKind::Assistant && state != nullptr) {
    trust_ = kDrafter;
    const int64_t count = pace_.choose(most, trust_);
    if (count > 0) proposal_ = drafter_->draft(on, kv, last_, state, count, scratch);
  }
  drafted_ += static_cast<int64_t>(proposal_.size());
  return proposal_;
}

void Speculator::took(double seconds) { pace_.took(static_cast<int64_t>(proposal_.size()), seconds); }

bool Speculator::confirm(int32_t id) {
  over_ = over_ || right_ == proposal_.size() || proposal_[right_] != id;
  if (over_) return false;
  ++right_, ++accepted_;
  return true;
}

}  // namespace gemlet::engine
