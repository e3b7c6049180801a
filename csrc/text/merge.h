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
    Pair pair;  // with the one after
  };

  void run_short(std::string_view word);
  void run_long(std::string_view word);
  void merge_at(std::string_view word, uint32_t left);
  void pair_up(std::string_view word, Symbol& left);
  void offer(uint32_t left);

  Rules rules_;
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> heap_;  // rank, then the index of the left symbol
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

// The next pair to merge has a lower rank than both pairs it overlaps, so only such pairs are in the heap: a third of all.
// One that has changed since it was put there no longer has the rank it was put there with. (If it has, it is as good.)
template <class Rules>
void Merger<Rules>::run_long(std::string_view word) {
  symbols_.clear();
  heap_.clear();
  for (size_t at = 0; at < word.size();) {
    const size_t size = std::min(claimed_bytes(static_cast<uint8_t>(word[at])), word.size() - at);
    const auto index = static_cast<uint32_t>(symbols_.size());
    symbols_.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(size), index - 1, index + 1,
                        rules_.start(word.substr(at, size)), Pair{}});
    at += size;
  }
  symbols_.back().after = kNever;  // and the first one's `before` has wrapped round to kNever
  for (Symbol& symbol : symbols_) pair_up(word, symbol);
  for (uint32_t left = 0; left < symbols_.size(); ++left) offer(left);
  while (!heap_.empty()) {
    std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
    const uint64_t best = heap_.back();
    heap_.pop_back();
    const auto left = static_cast<uint32_t>(best);
    if (symbols_[left].size > 0 && symbols_[left].pair.rank == best >> 32U) merge_at(word, left);
  }
  for (uint32_t at = 0; at != kNever; at = symbols_[at].after)
    rules_.emit(word.substr(symbols_[at].begin, symbols_[at].size), symbols_[at].id);
}

template <class Rules>
void Merger<Rules>::merge_at(std::string_view word, uint32_t left) {
  Symbol& a = symbols_[left];
  Symbol& b = symbols_[a.after];
  const uint32_t stood_after = b.pair.rank;
  a.size += b.size;
  a.id = a.pair.id;
  a.after = b.after;
  b.size = 0;
  pair_up(word, a);
  uint32_t stood_before = kNever;
  if (a.before != kNever) {
    stood_before = symbols_[a.before].pair.rank;
    pair_up(word, symbols_[a.before]);
    offer(a.before);
  }
  offer(left);
  // The pairs further out are the same, but the one that kept them from being next may be gone.
  if (a.after != kNever) {
    symbols_[a.after].before = left;
    if (stood_after <= symbols_[a.after].pair.rank) offer(a.after);
  }
  if (a.before == kNever) return;
  const uint32_t outer = symbols_[a.before].before;
  if (outer != kNever && stood_before < symbols_[outer].pair.rank) offer(outer);
}

template <class Rules>
void Merger<Rules>::pair_up(std::string_view word, Symbol& left) {
  left.pair = Pair{};
  if (left.after == kNever) return;
  const Symbol& right = symbols_[left.after];
  left.pair = rules_.find(word.data() + left.begin, left.size + right.size, left.id, right.id);
}

template <class Rules>
void Merger<Rules>::offer(uint32_t left) {
  const Symbol& a = symbols_[left];
  const uint32_t rank = a.pair.rank;
  if (rank == kNever || (a.before != kNever && symbols_[a.before].pair.rank <= rank)) return;
  if (symbols_[a.after].pair.rank < rank) return;
  heap_.push_back(uint64_t{rank} << 32U | left);
  std::push_heap(heap_.begin(), heap_.end(), std::greater<>());
}

}  // namespace gemlet::text
