// Building the table in one pass over the merges; the lookups are in the header.
#include "text/merge_table.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>

#include "core/error.h"
#include "text/quoted.h"

namespace gemlet::text {
namespace {

constexpr std::string_view kWrittenSpace = "\xC4\xA0";  // U+0120, which a merge has where a piece has a space
constexpr size_t kBlock = 32;                           // merges whose lookups are under way at once

struct Part {
  std::string_view text;
  uint64_t hash = 0;
  int32_t candidate = -1;
};

struct Parts {
  Part left, right;
};

Part part_of(std::string_view text) { return {text, hash_bytes(text.data(), text.size()), -1}; }

// Turns merges into ids. Names a merge by its text and its rank where it cannot.
class Reader {
 public:
  Reader(const std::vector<std::string_view>& pieces, const PieceTable& table) : pieces_(pieces), table_(table) {
    keys_.reserve(pieces.size());
    for (const std::string_view piece : pieces)
      keys_.push_back({piece.empty() ? ShortKey{} : short_key(piece.data(), piece.size()), piece.size()});
  }

  void fetch_slot(const Part& part) const { table_.fetch_slot(part.hash); }
  void fetch_key(Part& part) const {
    part.candidate = table_.candidate(part.hash);
    if (part.candidate >= 0) __builtin_prefetch(&keys_[static_cast<size_t>(part.candidate)]);
  }

  // The first space after the first byte divides, since the left part may itself begin with one.
  Parts divide(std::string_view merge, size_t rank) const {
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size())
      throw BadFile(
          cat("vocabulary: merge ", rank, ", ", quoted(merge), ": expected two pieces with a space between them"));
    return {part_of(merge.substr(0, space)), part_of(merge.substr(space + 1))};
  }

  int32_t find(const Part& part, std::string_view merge, size_t rank) const {
    int32_t id = part.candidate;
    if (id < 0 || !is_piece(part.text, static_cast<size_t>(id))) id = table_.find_hashed(part.text, part.hash);
    if (id < 0 && part.text.find(kWrittenSpace) != std::string_view::npos) id = table_.find(with_spaces(part.text));
    if (id < 0) refuse(part.text, merge, rank);
    return id;
  }

  // Merges are written in the order of the pieces that they make, a piece's ways one after the other, so mostly the
  // piece is the one before or the next one.
  int32_t find_whole(int32_t left, int32_t right, const Parts& parts, std::string_view merge, size_t rank) {
    const std::string_view a = parts.left.text, b = parts.right.text;
    for (size_t id = last_; id < std::min(last_ + 2, pieces_.size()); ++id) {
      const std::string_view whole = pieces_[id];
      if (whole.size() == a.size() + b.size() && equal(whole.substr(0, a.size()), a) &&
          equal(whole.substr(a.size()), b))
        return static_cast<int32_t>(last_ = id);
    }
    joined_.assign(pieces_[static_cast<size_t>(left)]).append(pieces_[static_cast<size_t>(right)]);
    const int32_t id = table_.find(joined_);
    if (id < 0) refuse(joined_, merge, rank);
    last_ = static_cast<size_t>(id);
    return id;
  }

 private:
  struct Key {  // of a piece: up to 16 bytes, it is the piece
    ShortKey key;
    size_t size;
  };

  bool is_piece(std::string_view text, size_t id) const {
    const Key& its = keys_[id];
    if (its.size != text.size()) return false;
    const ShortKey key = short_key(text.data(), text.size());
    return its.key.low == key.low && its.key.high == key.high && (text.size() <= 16 || pieces_[id] == text);
  }

  static std::string with_spaces(std::string_view part) {
    std::string text(part);
    for (size_t at = text.find(kWrittenSpace); at != std::string::npos; at = text.find(kWrittenSpace, at + 1))
      text.replace(at, kWrittenSpace.size(), 1, ' ');
    return text;
  }

  [[noreturn]] static void refuse(std::string_view missing, std::string_view merge, size_t rank) {
    throw BadFile(cat("vocabulary: merge ", rank, ", ", quoted(merge), ": expected ", quoted(missing),
                      " among the pieces, but it is none; the file was converted wrongly"));
  }

  const std::vector<std::string_view>& pieces_;
  const PieceTable& table_;
  std::vector<Key> keys_;  // side by side, where the pieces lie all over the file
  std::string joined_;
  size_t last_ = 0;
};

}  // namespace

MergeTable::MergeTable(const std::vector<std::string_view>& merges, const std::vector<std::string_view>& pieces,
                       const PieceTable& table) {
  const size_t count = merges.size();
  if (count > kMaxMerges)
    throw BadFile(cat("vocabulary: expected at most ", kMaxMerges, " merges, got ", count, "; the file is damaged"));
  rank_mask_ = (uint32_t{1} << static_cast<unsigned>(std::bit_width(count + 1))) - 1;
  slots_.resize(std::bit_ceil(2 * count + 1));  // one at least is always free, so every search ends
  mask_ = slots_.size() - 1;
  merges_.resize(count);
  Reader reader(pieces, table);
  // Slots and pieces are touched at random: ask for those of a block ahead, one level of the way at a time.
  std::array<Parts, kBlock> parts;
  std::array<uint64_t, kBlock> hashes{};
  const auto ahead = [&](size_t size, const auto& fetch) {
    for (size_t i = 0; i < size; ++i) {
      fetch(parts[i].left);
      fetch(parts[i].right);
    }
  };
  for (size_t first = 0; first < count; first += kBlock) {
    const size_t size = std::min(count - first, kBlock);
    for (size_t i = 0; i < size; ++i) parts[i] = reader.divide(merges[first + i], first + i);
    ahead(size, [&](Part& part) { reader.fetch_slot(part); });
    ahead(size, [&](Part& part) { reader.fetch_key(part); });
    for (size_t i = 0; i < size; ++i) {
      const size_t rank = first + i;
      const int32_t left = reader.find(parts[i].left, merges[rank], rank);
      const int32_t right = reader.find(parts[i].right, merges[rank], rank);
      merges_[rank] = {left, right, reader.find_whole(left, right, parts[i], merges[rank], rank)};
      hashes[i] = hash_of(left, right);
      __builtin_prefetch(&slots_[hashes[i] & mask_], 1);
    }
    for (size_t i = 0; i < size; ++i) insert(static_cast<uint32_t>(first + i), hashes[i]);
  }
}

void MergeTable::insert(uint32_t rank, uint64_t hash) {
  const uint32_t tag = tag_of(hash);
  size_t at = hash & mask_;
  for (; slots_[at] != 0; at = (at + 1) & mask_) {
    if ((slots_[at] & ~rank_mask_) != tag) continue;
    const Merge& other = merges_[(slots_[at] & rank_mask_) - 1];
    // Written twice: the lower rank, which came first, is the one that counts.
    if (other.left == merges_[rank].left && other.right == merges_[rank].right) return;
  }
  slots_[at] = tag | (rank + 1);
}

}  // namespace gemlet::text
