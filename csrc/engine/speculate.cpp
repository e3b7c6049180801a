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

std::vector<int32_t> Speculator::propose(ops::Context& on, model::State& scratch, model::KvCache& kv,
                                         const float* state, int64_t most) {
  std::vector<int32_t> ids;
  if (kind_ == DraftKind::Lookup) {
    PromptLookup::Match match = lookup_.find(std::min(most, DraftPace::kMost));
    trust_ = match.length >= kLong ? kLongMatch : kShortMatch;
    ids = std::move(match.ids);
    ids.resize(static_cast<size_t>(pace_.choose(static_cast<int64_t>(ids.size()), trust_)));
  } else if (kind_ == DraftKind::Assistant && state != nullptr) {
    trust_ = kDrafter;
    const int64_t count = pace_.choose(most, trust_);
    if (count > 0) ids = drafter_->draft(on, kv, last_, state, count, scratch);
  }
  proposed_ = static_cast<int64_t>(ids.size());
  return ids;
}

void Speculator::took(double seconds) { pace_.took(proposed_, seconds); }

void Speculator::judge(int64_t accepted) {
  drafted_ += proposed_;
  accepted_ += accepted;
  pace_.judged(trust_, proposed_, accepted);
  proposed_ = 0;
}

}  // namespace gemlet::engine
