// Sequences read before, kept so that a prompt that begins like one of them is read from where they part. Owns pages up
// to a budget; the least recently used go first, the newest always stays.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "model/kv_cache.h"
#include "model/prompt.h"

namespace gemlet::engine {

// A point that a sequence can be continued from: `kv` holds exactly what was `read`, whose soft rows are left out.
struct Snapshot {
  model::Prompt read;
  model::KvCache kv;
  bool marked = false;  // others will begin here, and a longer one need not be able to go back so far for ever
};
using Snapshots = std::vector<std::shared_ptr<const Snapshot>>;

// May be used from several threads.
class PrefixCache {
 public:
  explicit PrefixCache(int64_t budget) : budget_(budget) {}  // bytes; 0 keeps nothing
  PrefixCache(const PrefixCache& other) : budget_(other.budget_), kept_(other.list()) {}
  PrefixCache& operator=(const PrefixCache&) = delete;

  // The snapshot that shares most first positions with the prompt and can go back to where they part, and how many these
  // are, at most `most`; null and 0 if none. Positions are the same if their tokens are, or their soft rows.
  std::pair<std::shared_ptr<const Snapshot>, int64_t> find(const model::Prompt& prompt, int64_t most);
  // Keeps what was read, without soft rows, and its cache, which shares its pages. What the new one makes superfluous
  // goes, but for what is marked.
  void add(model::Prompt read, const model::KvCache& kv, bool marked = false);
  Snapshots all() const;  // least recently used first
  void clear();
  int64_t bytes() const;  // of pages, shared ones once

 private:
  std::list<std::shared_ptr<const Snapshot>> list() const;
  void shrink();
  const int64_t budget_;
  mutable std::mutex mutex_;
  std::list<std::shared_ptr<const Snapshot>> kept_;  // least recently used first
};

}  // namespace gemlet::engine
