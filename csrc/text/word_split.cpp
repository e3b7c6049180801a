// The vocabulary is scanned once for space marks that are not at the start of a piece.
#include "text/word_split.h"

#include <algorithm>

namespace gemlet::text {
namespace {

// What a raw byte is the last or first byte of once spaces are written as space marks.
uint8_t last_marked(char c) { return static_cast<uint8_t>(c == ' ' ? kSpaceMark.back() : c); }
uint8_t first_marked(char c) { return static_cast<uint8_t>(c == ' ' ? kSpaceMark.front() : c); }

}  // namespace

WordSplitter::WordSplitter(const std::vector<std::string_view>& pieces) {
  for (const std::string_view piece : pieces) {
    if (piece.size() <= kSpaceMark.size()) continue;
    for (size_t mark = piece.find(kSpaceMark.front(), 1); mark != std::string_view::npos;
         mark = piece.find(kSpaceMark.front(), mark + 1))
      if (piece.substr(mark, kSpaceMark.size()) == kSpaceMark) forbid(piece, mark);
  }
}

void WordSplitter::forbid(std::string_view piece, size_t mark) {
  const auto before = static_cast<uint8_t>(piece[mark - 1]);
  const size_t next = mark + kSpaceMark.size();
  if (next < piece.size()) {
    const auto after = static_cast<uint8_t>(piece[next]);
    pairs_[(before << 2U) | (after >> 6U)] |= uint64_t{1} << (after & 63U);
  } else {  // whatever follows, the piece could end here
    at_end_[before] = true;
    for (size_t word = 0; word < 4; ++word) pairs_[(before << 2U) | word] = ~uint64_t{0};
  }
}

bool WordSplitter::may_cut(std::string_view text, size_t space) const {
  const uint8_t before = last_marked(text[space - 1]);
  if (space + 1 == text.size()) return !at_end_[before];
  return !crossed(before, first_marked(text[space + 1]));
}

size_t WordSplitter::end_of_word(std::string_view text, size_t begin) const {
  size_t i = text[begin] == ' ' ? begin + 1 : begin;
  while (i < text.size()) {
    const auto byte = static_cast<uint8_t>(text[i]);
    if (byte == ' ' && may_cut(text, i)) return i;
    if (byte < 0xC0) {
      ++i;
      continue;
    }
    // A first byte claims the bytes after it, valid or not, so a cut character may take part of a space mark into its
    // symbol; there the space is no boundary. It never takes more than that one mark.
    const size_t end = std::min(i + claimed_bytes(byte), text.size());
    do ++i;
    while (i < end && text[i] != ' ');
    if (i < end) ++i;
  }
  return text.size();
}

}  // namespace gemlet::text
