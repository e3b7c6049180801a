// A trie laid flat: the pieces in byte order, walked by narrowing the range that shares the text's next byte.
#include "text/special.h"

#include <algorithm>
#include <utility>

namespace gemlet::text {
namespace {

uint8_t byte_at(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

}  // namespace

SpecialMatcher::SpecialMatcher(const std::vector<std::string_view>& pieces, std::vector<int32_t> ids)
    : pieces_(pieces.data()), sorted_(std::move(ids)) {
  std::erase_if(sorted_, [&](int32_t id) { return pieces[static_cast<size_t>(id)].empty(); });
  std::sort(sorted_.begin(), sorted_.end(),  // string_view compares as unsigned bytes
            [&](int32_t a, int32_t b) { return pieces[static_cast<size_t>(a)] < pieces[static_cast<size_t>(b)]; });
  for (size_t rank = 0; rank < sorted_.size(); ++rank) {
    const std::string_view text = piece(rank);
    const uint8_t first = byte_at(text, 0);
    first_[first + 1U] = static_cast<uint32_t>(rank + 1);
    if (text.size() == 1) {
      alone_[first] = true;
      for (size_t word = 0; word < 4; ++word) pairs_[(first << 2U) | word] = ~uint64_t{0};
    } else {
      const uint8_t second = byte_at(text, 1);
      pairs_[(first << 2U) | (second >> 6U)] |= uint64_t{1} << (second & 63U);
    }
  }
  for (size_t first = 1; first < first_.size(); ++first) first_[first] = std::max(first_[first], first_[first - 1]);
}

SpecialMatcher::Match SpecialMatcher::next(std::string_view text, size_t begin) const {
  for (size_t i = begin; i < text.size(); ++i) {
    const uint8_t first = byte_at(text, i);
    if (first_[first] == first_[first + 1U]) continue;
    if (i + 1 < text.size() ? !may_start(first, byte_at(text, i + 1)) : !alone_[first]) continue;
    const Match match = longest_at(text, i);
    if (match.size > 0) return match;
  }
  return {text.size(), 0, -1};
}

SpecialMatcher::Match SpecialMatcher::longest_at(std::string_view text, size_t begin) const {
  Match best{begin, 0, -1};
  const uint8_t first = byte_at(text, begin);
  size_t low = first_[first], high = first_[first + 1U];
  for (size_t depth = 1; low < high; ++depth) {  // pieces [low, high) agree with the text in `depth` bytes
    if (piece(low).size() == depth) best = {begin, depth, sorted_[low++]};
    if (low == high || begin + depth == text.size()) break;
    const uint8_t want = byte_at(text, begin + depth);
    // Most steps are inside a shared prefix, where the two ends of the range already agree.
    if (byte_at(piece(low), depth) == want && byte_at(piece(high - 1), depth) == want) continue;
    const auto begin_of = [&](unsigned byte) {
      const auto at = std::partition_point(
          sorted_.begin() + static_cast<std::ptrdiff_t>(low), sorted_.begin() + static_cast<std::ptrdiff_t>(high),
          [&](int32_t id) { return byte_at(pieces_[static_cast<size_t>(id)], depth) < byte; });
      return static_cast<size_t>(at - sorted_.begin());
    };
    const size_t from = begin_of(want), to = begin_of(want + 1U);
    low = from;
    high = to;
  }
  return best;
}

}  // namespace gemlet::text
