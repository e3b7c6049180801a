// White space in UTF-8 bytes: the 25 characters with Unicode's property White_Space, and runs of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace gemlet::text {

// Bytes of the white space that `text` begins with; 0 if it begins with something else.
inline size_t space_size(std::string_view text) {
  const auto byte = [text](size_t i) { return i < text.size() ? static_cast<uint8_t>(text[i]) : uint8_t{0}; };
  const uint8_t first = byte(0), second = byte(1), third = byte(2);
  if (first == ' ' || (first >= 0x09 && first <= 0x0D)) return 1;
  if (first == 0xC2) return second == 0x85 || second == 0xA0 ? 2 : 0;  // U+0085, U+00A0
  if (first == 0xE1) return second == 0x9A && third == 0x80 ? 3 : 0;   // U+1680
  if (first == 0xE3) return second == 0x80 && third == 0x80 ? 3 : 0;   // U+3000
  if (first != 0xE2) return 0;
  if (second == 0x81) return third == 0x9F ? 3 : 0;  // U+205F
  if (second != 0x80) return 0;
  const bool wide = third >= 0x80 && third <= 0x8A;                        // U+2000 to U+200A
  return wide || third == 0xA8 || third == 0xA9 || third == 0xAF ? 3 : 0;  // U+2028, U+2029, U+202F
}

// The end of the white space that begins at `at`; `at` if there is none. `blanks`: whether U+0020 is white space.
inline size_t past_space(std::string_view text, size_t at, bool blanks) {
  while (at < text.size() && (blanks || text[at] != ' ')) {
    const size_t size = space_size(text.substr(at));
    if (size == 0) break;
    at += size;
  }
  return at;
}

// The begin of the white space that ends at `at`; `at` if there is none.
inline size_t before_space(std::string_view text, size_t at, bool blanks) {
  while (at > 0 && (blanks || text[at - 1] != ' ')) {
    size_t size = 1;
    while (size <= 3 && (size > at || space_size(text.substr(at - size)) != size)) ++size;
    if (size > 3) break;
    at -= size;
  }
  return at;
}

}  // namespace gemlet::text
