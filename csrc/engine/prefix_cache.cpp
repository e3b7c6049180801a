// Longest common prefixes, and the budget.
#include "engine/prefix_cache.h"

#include <algorithm>
#include <unordered_set>

namespace gemlet::engine {
namespace {

int64_t bytes_of(const std::list<std::shared_ptr<const Snapshot>>& kept) {
  std::unordered_set<const uint8_t*> seen;
  size_t total = 0;
  for (const std::shared_ptr<const Snapshot>& s : kept)
    for (size_t layer = 0; layer < s->kv.layers(); ++layer)
      for (const std::shared_ptr<uint8_t>& page : s->kv.held(layer))
        if (page != nullptr && seen.insert(page.get()).second) total += s->kv.page_bytes(layer);
  return static_cast<int64_t>(total);
}

}  // namespace

std::pair<std::shared_ptr<const Snapshot>, int64_t> PrefixCache::find(const model::Prompt& prompt, int64_t most) {
  const std::lock_guard<std::mutex> lock(mutex_);
  auto best = kept_.end();
  int64_t length = 0;
  for (auto it = kept_.begin(); it != kept_.end(); ++it) {
    const int64_t shared = prompt.cut(std::min(most, model::common_prefix((*it)->read, prompt)));
    if (shared > length && (*it)->kv.reaches(shared)) best = it, length = shared;
  }
  if (best == kept_.end()) return {nullptr, 0};
  kept_.splice(kept_.end(), kept_, best);
  return {kept_.back(), length};
}

void PrefixCache::add(model::Prompt read, const model::KvCache& kv, bool marked) {
  if (budget_ <= 0 || read.size() == 0) return;
  const std::lock_guard<std::mutex> lock(mutex_);
  kept_.remove_if([&](const std::shared_ptr<const Snapshot>& s) {
    const int64_t length = s->read.size();
    if (s->marked && length < read.size()) return false;
    return length <= read.size() && kv.reaches(length) && model::common_prefix(s->read, read) == length;
  });
  kept_.push_back(std::make_shared<const Snapshot>(Snapshot{std::move(read), kv, marked}));
  shrink();
}

void PrefixCache::shrink() {
  while (kept_.size() > 1 && bytes_of(kept_) > budget_) kept_.pop_front();
}

std::list<std::shared_ptr<const Snapshot>> PrefixCache::list() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return kept_;
}

Snapshots PrefixCache::all() const {
  const std::list<std::shared_ptr<const Snapshot>> kept = list();
  return {kept.begin(), kept.end()};
}

void PrefixCache::clear() {
  const std::lock_guard<std::mutex> lock(mutex_);
  kept_.clear();
}

int64_t PrefixCache::bytes() const { return bytes_of(list()); }

}  // namespace gemlet::engine
