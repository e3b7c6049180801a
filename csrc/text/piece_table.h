// Piece -> id: open addressing over the ids of a vocabulary whose bytes stay where they are (the mapped file).
// A slot is 4 bytes: the id and, in the bits that the id leaves free, part of the hash, so that a miss rarely reads a piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/hash.h"

namespace gemlet::text {

class PieceTable {
 public:
  static constexpr size_t kMaxPieces = size_t{1} << 22U;

  // `pieces` must outlive the table. Empty pieces are never found. Throws BadFile on two equal pieces or too many.
  explicit PieceTable(const std::vector<std::string_view>& pieces);

  int32_t find(std::string_view piece) const {  // -1 if absent
    if (piece.empty() || piece.size() > longest_) return -1;
    return find_hashed(piece, hash_bytes(piece.data(), piece.size()));
  }
  int32_t find_hashed(std::string_view piece, uint64_t hash) const {  // `hash`: hash_bytes of it; not empty
    const uint32_t tag = tag_of(hash);
    for (size_t at = hash & mask_;; at = (at + 1) & mask_) {
      const uint32_t slot = slots_[at];
      if (slot == 0) return -1;
      if ((slot & ~id_mask_) != tag) continue;
      const uint32_t id = (slot & id_mask_) - 1;
      if (equal(pieces_[id], piece)) return static_cast<int32_t>(id);
    }
  }
  // For many lookups at once: ask ahead for a slot, then look what it has without reading the piece.
  void fetch_slot(uint64_t hash) const { __builtin_prefetch(&slots_[hash & mask_]); }
  int32_t candidate(uint64_t hash) const {  // the only piece, but for one in thousands, that it can be; -1: none
    const uint32_t tag = tag_of(hash);
    for (size_t at = hash & mask_; slots_[at] != 0; at = (at + 1) & mask_)
      if ((slots_[at] & ~id_mask_) == tag) return static_cast<int32_t>((slots_[at] & id_mask_) - 1);
    return -1;
  }
  size_t longest() const { return longest_; }  // bytes of the longest piece
  size_t bytes() const { return slots_.size() * sizeof(uint32_t); }

 private:
  uint32_t tag_of(uint64_t hash) const { return static_cast<uint32_t>(hash >> 32U) & ~id_mask_; }
  void insert(uint32_t id, uint64_t hash);

  const std::string_view* pieces_;
  std::vector<uint32_t> slots_;  // 0: free; else tag | (id + 1)
  uint32_t id_mask_ = 0;
  size_t mask_ = 0;
  size_t longest_ = 0;
};

}  // namespace gemlet::text
