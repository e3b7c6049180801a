// Merges the symbols of one word: again and again the adjacent pair with the lowest rank, the leftmost of equals.
// What a pair is worth is the caller's (`Find`), so score-based and rank-based vocabularies share this file.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string_view>
#include <vector>

#include "text/word_split.h"

namespace gemlet::text {

struct Pair {
  uint32_t rank = std::numeric_limits<uint32_t>::max();  // the highest: these two do not merge
  int32_t id = -1;
};

// Rules has
//   int32_t start(std::string_view character)                       its id, -1 if it is no piece
//   Pair find(const char* data, size_t size, int32_t left, int32_t right)   two adjacent symbols: their bytes and their ids
//   void emit(std::string_view symbol, int32_t id)                  the symbols that remain, in order
template <class Rules>
class Merger {
 public:
  explicit Merger(Rules rules) : rules_(rules) {}

  void run(std::string_view word) {
    if (word.size() <= kShort)
      run_short(word);
    else
      run_long(word);
  }

 private:
  static constexpr size_t kShort = 48;  // bytes; up to here scanning all pairs beats a heap
  static constexpr uint32_t kNever = std::numeric_limits<uint32_t>::max();

  struct Symbol {
    uint32_t begin, size;    // size 0: merged into the one before it
    uint32_t before, after;  // indices; kNever: none
    int32_t id;
  };
  struct Candidate {
    uint64_t key;   // rank, then the index of the left symbol
    uint32_t size;  // of both; tells a candidate whose symbols have changed since
    int32_t id;
    bool operator>(const Candidate& other) const { return key > other.key; }
  };

  void run_short(std::string_view word);
  void run_long(std::string_view word);
  void offer(std::string_view word, uint32_t left);

  Rules rules_;
  std::vector<Symbol> symbols_;
  std::vector<Candidate> heap_;
};

template <class Rules>
void Merger<Rules>::run_short(std::string_view word) {
  std::array<uint8_t, kShort + 1> begin;  // of each symbol, and the word's end
  std::array<int32_t, kShort> id;
  std::array<Pair, kShort> pair;  // symbols i and i + 1
  size_t count = 0;
  for (size_t at = 0; at < word.size();) {
    const size_t size = std::min(claimed_bytes(static_cast<uint8_t>(word[at])), word.size() - at);
    begin[count] = static_cast<uint8_t>(at);
    id[count++] = rules_.start(word.substr(at, size));
    at += size;
  }
  begin[count] = static_cast<uint8_t>(word.size());
  const auto look = [&](size_t i) {
    pair[i] = rules_.find(word.data() + begin[i], static_cast<size_t>(begin[i + 2] - begin[i]), id[i], id[i + 1]);
  };
  for (size_t i = 0; i + 1 < count; ++i) look(i);
  while (count > 1) {
    size_t best = 0;
    for (size_t i = 1; i + 1 < count; ++i)
      if (pair[i].rank < pair[best].rank) best = i;
    if (pair[best].rank == kNever) break;
    id[best] = pair[best].id;
    --count;
    for (size_t i = best + 1; i < count; ++i) {
      begin[i] = begin[i + 1];
      id[i] = id[i + 1];
      pair[i - 1] = pair[i];
    }
    begin[count] = begin[count + 1];
    if (best > 0) look(best - 1);
    if (best + 1 < count) look(best);
  }
  for (size_t i = 0; i < count; ++i) rules_.emit(word.substr(begin[i], begin[i + 1] - begin[i]), id[i]);
}

template <class Rules>
void Merger<Rules>::run_long(std::string_view word) {
  symbols_.clear();
  heap_.clear();
  for (size_t at = 0; at < word.size();) {
    const size_t size = std::min(claimed_bytes(static_cast<uint8_t>(word[at])), word.size() - at);
    const auto index = static_cast<uint32_t>(symbols_.size());
    symbols_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(size), index - 1, index + 1,
                        rules_.start(word.substr(at, size))});
    at += size;
  }
  symbols_.back().after = kNever;  // and the first one's `before` has wrapped round to kNever
  for (uint32_t left = 0; left + 1 < symbols_.size(); ++left) {
    const Symbol &a = symbols_[left], &b = symbols_[left + 1];
    const Pair pair = rules_.find(word.data() + a.begin, a.size + b.size, a.id, b.id);
    if (pair.rank != kNever) heap_.push_back({uint64_t{pair.rank} << 32U | left, a.size + b.size, pair.id});
  }
  std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  while (!heap_.empty()) {
    const Candidate best = heap_.front();
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    heap_.pop_back();
    const auto left = static_cast<uint32_t>(best.key);
    Symbol& a = symbols_[left];
    if (a.size == 0 || a.after == kNever || a.size + symbols_[a.after].size != best.size) continue;
    Symbol& b = symbols_[a.after];
    a.size = best.size;
    a.id = best.id;
    a.after = b.after;
    b.size = 0;
    if (a.after != kNever) symbols_[a.after].before = left;
    if (a.before != kNever) offer(word, a.before);
    offer(word, left);
  }
  for (uint32_t at = 0; at != kNever; at = symbols_[at].after)
    rules_.emit(word.substr(symbols_[at].begin, symbols_[at].size), symbols_[at].id);
}

template <class Rules>
void Merger<Rules>::offer(std::string_view word, uint32_t left) {
  const Symbol& a = symbols_[left];
  if (a.after == kNever) return;
  const Symbol& b = symbols_[a.after];
  const Pair pair = rules_.find(word.data() + a.begin, a.size + b.size, a.id, b.id);
  if (pair.rank == kNever) return;
  heap_.push_back({uint64_t{pair.rank} << 32U | left, a.size + b.size, pair.id});
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

}  // namespace gemlet::text
