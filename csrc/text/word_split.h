// Cuts text before spaces, where that cannot change the ids: only where no piece of the vocabulary could lie across the cut.
// (In Gemma 3's vocabulary one piece can, `>` U+2581 `</`, so "> <" stays in one word.)
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace gemlet::text {

inline constexpr std::string_view kSpaceMark = "\xE2\x96\x81";  // U+2581, a space as pieces write it

// Bytes that a character with this first byte claims; a continuation byte in first place counts as one.
inline size_t claimed_bytes(uint8_t first) { return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; }

class WordSplitter {
 public:
  explicit WordSplitter(const std::vector<std::string_view>& pieces);

  // The end of the word that begins at `begin` (< text.size()), with the space before it if there is one.
  size_t end_of_word(std::string_view text, size_t begin) const;

 private:
  bool crossed(uint8_t before, uint8_t after) const {
    return (pairs_[(before << 2U) | (after >> 6U)] >> (after & 63U) & 1U) != 0;
  }
  bool may_cut(std::string_view text, size_t space) const;
  void forbid(std::string_view piece, size_t mark);

  std::array<uint64_t, 1024> pairs_{};  // bit (byte before a space mark, byte after it): some piece has them so
  std::array<bool, 256> at_end_{};      // some piece has this byte and then a space mark as its end
};

}  // namespace gemlet::text
