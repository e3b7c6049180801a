// What one call of encode remembers: words -> ids, since most words of a text come again, and pairs of ids -> what they merge
// into. A newer entry takes an older one's place, so the sizes are bounded. One call's own, hence no locks.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/hash.h"
#include "text/merge.h"

namespace gemlet::text {

// Short words with few ids only.
class WordCache {
 public:
  static constexpr size_t kMaxBytes = 16, kMaxIds = 5;

  // No entries at all for a text too short to repeat itself.
  explicit WordCache(size_t text_bytes) {
    if (text_bytes >= 512) entries_.resize(std::bit_ceil(std::min<size_t>(text_bytes / 16, 8192)));
  }

  struct Entry {
    ShortKey key;
    std::array<int32_t, kMaxIds> ids;
    uint8_t size = 0, count = 0;  // bytes of the word (0: free), ids
  };

  // The word's place and whether it is there; null if such a word is not kept. `word` is not empty.
  Entry* place(std::string_view word, bool& found) {
    if (word.size() > kMaxBytes || entries_.empty()) return nullptr;
    const ShortKey key = short_key(word.data(), word.size());
    Entry& entry = entries_[hash_key(key, word.size()) & (entries_.size() - 1)];
    found = entry.size == word.size() && entry.key.low == key.low && entry.key.high == key.high;
    return &entry;
  }
  static void keep(Entry& entry, std::string_view word, const int32_t* ids, size_t count) {
    if (count > kMaxIds) return;
    entry.key = short_key(word.data(), word.size());
    entry.size = static_cast<uint8_t>(word.size());
    entry.count = static_cast<uint8_t>(count);
    std::copy_n(ids, count, entry.ids.begin());
  }

 private:
  std::vector<Entry> entries_;
};

class PairCache {
 public:
  explicit PairCache(size_t text_bytes) : entries_(std::bit_ceil(std::clamp<size_t>(text_bytes / 4, 16, 16384))) {}

  // Two ids that are not negative -> the pair, from `look()` if it is not at hand.
  template <class Look>
  Pair get(int32_t left, int32_t right, const Look& look) {
    const uint64_t key = (static_cast<uint64_t>(left) << 32U | static_cast<uint32_t>(right)) + 1;
    Entry& entry = entries_[mix(key, 0x9E3779B97F4A7C15) & (entries_.size() - 1)];
    if (entry.key != key) entry = {key, look()};
    return entry.pair;
  }

 private:
  struct Entry {
    uint64_t key = 0;  // 0: free
    Pair pair;
  };
  std::vector<Entry> entries_;
};

}  // namespace gemlet::text
