// (left id, right id) -> the rank of their merge and the id of the whole: open addressing over the merges of a vocabulary.
// A slot is 4 bytes, the rank and part of the hash, so that a miss, the common case, reads nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/hash.h"
#include "text/merge.h"
#include "text/piece_table.h"

namespace gemlet::text {

class MergeTable {
 public:
  static constexpr size_t kMaxMerges = size_t{1} << 23U;

  // `merges`: "left right", lowest rank first; only read here. `table` is that of `pieces`.
  // Throws BadFile on a merge of which a part or the whole is no piece.
  MergeTable(const std::vector<std::string_view>& merges, const std::vector<std::string_view>& pieces,
             const PieceTable& table);

  Pair find(int32_t left, int32_t right) const {  // ids that are not negative
    const uint64_t hash = hash_of(left, right);
    const uint32_t tag = tag_of(hash);
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const uint32_t slot = slots_[at];
      if (slot == 0) return {};
      if ((slot & ~rank_mask_) != tag) continue;
      const uint32_t rank = (slot & rank_mask_) - 1;
      const Merge& merge = merges_[rank];
      if (merge.left == left && merge.right == right) return {rank, merge.whole};
    }
  }
  size_t bytes() const { return slots_.size() * sizeof(uint32_t) + merges_.size() * sizeof(Merge); }

 private:
  struct Merge {
    int32_t left, right, whole;
  };

  static uint64_t hash_of(int32_t left, int32_t right) {
    return mix(uint64_t{static_cast<uint32_t>(left)} << 32U | static_cast<uint32_t>(right) | uint64_t{1} << 63U,
               0x9E3779B97F4A7C15);
  }
  uint32_t tag_of(uint64_t hash) const { return static_cast<uint32_t>(hash >> 32U) & ~rank_mask_; }
  void insert(uint32_t rank, uint64_t hash);

  std::vector<uint32_t> slots_;  // 0: free; else tag | (rank + 1)
  std::vector<Merge> merges_;    // by rank
  uint32_t rank_mask_ = 0;
  size_t mask_ = 0;
};

}  // namespace gemlet::text
