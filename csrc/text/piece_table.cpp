// Building the table in one pass over the vocabulary; the lookups are in the header.
#include "text/piece_table.h"

#include <algorithm>
#include <array>
#include <bit>

#include "core/error.h"
#include "text/quoted.h"

namespace gemlet::text {

PieceTable::PieceTable(const std::vector<std::string_view>& pieces) : pieces_(pieces.data()) {
  const size_t count = pieces.size();
  if (count > kMaxPieces)
    throw BadFile(cat("vocabulary: expected at most ", kMaxPieces, " pieces, got ", count, "; the file is damaged"));
  id_mask_ = (uint32_t{1} << static_cast<unsigned>(std::bit_width(count + 1))) - 1;
  slots_.resize(std::bit_ceil(2 * count));  // one at least is always free, so every search ends
  mask_ = slots_.size() - 1;
  // Slots are touched at random: ask for a block of them ahead, then fill them.
  std::array<uint64_t, 32> hashes{};
  for (size_t first = 0; first < count; first += hashes.size()) {
    const size_t last = std::min(count, first + hashes.size());
    for (size_t id = first; id < last; ++id) {
      if (pieces[id].empty()) continue;
      longest_ = std::max(longest_, pieces[id].size());
      hashes[id - first] = hash_bytes(pieces[id].data(), pieces[id].size());
      __builtin_prefetch(&slots_[hashes[id - first] & mask_], 1);
    }
    for (size_t id = first; id < last; ++id)
      if (!pieces[id].empty()) insert(static_cast<uint32_t>(id), hashes[id - first]);
  }
}

void PieceTable::insert(uint32_t id, uint64_t hash) {
  const uint32_t tag = tag_of(hash);
  size_t at = hash & mask_;
  for (; slots_[at] != 0; at = (at + 1) & mask_) {
    const uint32_t other = (slots_[at] & id_mask_) - 1;
    if ((slots_[at] & ~id_mask_) == tag && pieces_[other] == pieces_[id])
      throw BadFile(cat("vocabulary: pieces ", other, " and ", id, " are both ", quoted(pieces_[id]),
                        "; expected every piece once, so the file was converted wrongly"));
  }
  slots_[at] = tag | (id + 1);
}

}  // namespace gemlet::text
