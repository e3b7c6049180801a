// Moving averages and the choice made from them; see draft_pace.h.
#include "engine/draft_pace.h"

#include <algorithm>

namespace gemlet::engine {
namespace {

constexpr double kNewest = 0.2;                    // weight of the last step's time
constexpr double kForget = 0.95;                   // of older judgements, for each newer one
constexpr double kPrior = 2;                       // judgements that the first guess below counts for
constexpr double kFirstGuess[] = {0.7, 0.4, 0.8};  // by kind: drafter, short match, long match
constexpr double kDraftCost = 0.15;                // of a plain step, until measured
constexpr double kLeastGain = 1.02;                // less is noise
constexpr int64_t kRefresh = 64;                   // a plain step after so many others: its time is the measure of all
constexpr int64_t kFirstRest = 8, kLongestRest = 256;
constexpr int64_t kTrial = 3;  // drafts, when a kind is tried again

}  // namespace

double DraftPace::cost(int64_t drafted) const {
  const auto at = [this](int64_t n) { return seconds_[static_cast<size_t>(n)]; };
  if (at(drafted) > 0) return at(drafted);
  for (int64_t apart = 1; apart < kMost; ++apart)  // on a line through the plain step and the nearest that is known
    for (const int64_t n : {drafted + apart, drafted - apart})
      if (n >= 1 && n <= kMost && at(n) > 0)
        return at(0) + std::max(0.0, at(n) - at(0)) * static_cast<double>(drafted) / static_cast<double>(n);
  return at(0) * (1 + kDraftCost * static_cast<double>(drafted));
}

double DraftPace::gain(int64_t drafted, int kind) const {
  double tokens = 1, all = 1;
  for (int64_t i = 0; i < drafted; ++i) {
    const Share& s = shares_[static_cast<size_t>(kind)][static_cast<size_t>(i)];
    all *= (s.right + kPrior * kFirstGuess[kind]) / (s.tried + kPrior);
    tokens += all;
  }
  return tokens * seconds_[0] / cost(drafted);
}

int64_t DraftPace::choose(int64_t offered, int kind) {
  const int64_t most = std::min(offered, kMost);
  if (fixed_ >= 0) return std::min(most, fixed_);
  if (most < 1 || seconds_[0] == 0 || ++since_plain_ > kRefresh) return 0;
  int64_t best = 1;
  for (int64_t n = 2; n <= most; ++n)
    if (gain(n, kind) > gain(best, kind)) best = n;
  Rest& rest = rests_[static_cast<size_t>(kind)];
  if (gain(best, kind) > kLeastGain) {
    rest = {};
    return best;
  }
  if (rest.next == 0) rest.left = rest.next = kFirstRest;
  if (--rest.left > 0) return 0;
  rest.left = rest.next = std::min(2 * rest.next, kLongestRest);
  return std::min(most, kTrial);
}

void DraftPace::took(int64_t drafted, double seconds) {
  if (drafted == 0) since_plain_ = 0;
  double& average = seconds_[static_cast<size_t>(drafted)];
  average = average == 0 ? seconds : average + kNewest * (seconds - average);
}

void DraftPace::judged(int kind, int64_t drafted, int64_t accepted) {
  for (int64_t i = 0; i < std::min(drafted, accepted + 1); ++i) {
    Share& s = shares_[static_cast<size_t>(kind)][static_cast<size_t>(i)];
    s.right = kForget * s.right + (i < accepted ? 1 : 0);
    s.tried = kForget * s.tried + 1;
  }
}

}  // namespace gemlet::engine
