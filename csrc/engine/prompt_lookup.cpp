// Chains of places by the hash of a pair of tokens, as in LZ77 compressors; see prompt_lookup.h.
#include "engine/prompt_lookup.h"

#include <algorithm>
#include <bit>

namespace gemlet::engine {

size_t PromptLookup::bucket(size_t at) const {
  const uint64_t pair = (uint64_t{static_cast<uint32_t>(ids_[at - 1])} << 32U) | static_cast<uint32_t>(ids_[at]);
  const auto bits = static_cast<unsigned>(std::countr_zero(last_.size()));
  return static_cast<size_t>((pair * 0x9E3779B97F4A7C15U) >> (64U - bits));  // the golden ratio spreads the bits
}

void PromptLookup::link(size_t at) {
  int32_t& last = last_[bucket(at)];
  before_[at] = last;
  last = static_cast<int32_t>(at);
}

void PromptLookup::add(int32_t id) {
  ids_.push_back(id);
  before_.push_back(-1);
  if (ids_.size() > last_.size()) {  // twice as large, and all over again: still constant time on average
    last_.assign(std::max<size_t>(256, 2 * last_.size()), -1);
    for (size_t at = 1; at + 1 < ids_.size(); ++at) link(at);
  }
  if (ids_.size() >= 2) link(ids_.size() - 1);
}

PromptLookup::Match PromptLookup::find(int64_t most) const {
  Match best;
  if (ids_.size() < 2 || most < 1) return best;
  const size_t end = ids_.size() - 1;
  size_t found = 0;
  int tries = 0;
  for (int32_t place = before_[end]; place >= 0 && tries < kTries;
       place = before_[static_cast<size_t>(place)], ++tries) {
    const auto at = static_cast<size_t>(place);
    int64_t length = 0;
    while (length < kLongest && static_cast<size_t>(length) <= at &&
           ids_[at - static_cast<size_t>(length)] == ids_[end - static_cast<size_t>(length)])
      ++length;
    if (length <= best.length) continue;
    best.length = length, found = at;
    if (length == kLongest) break;
  }
  if (best.length < kLeast) return {};  // two pairs may share a bucket
  for (size_t at = found + 1; static_cast<int64_t>(best.ids.size()) < most; ++at)
    best.ids.push_back(at <= end ? ids_[at] : best.ids[at - end - 1]);
  return best;
}

}  // namespace gemlet::engine
