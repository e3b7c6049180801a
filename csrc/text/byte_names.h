// How a vocabulary writes the pieces that stand for single bytes: '<0x0A>'.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gemlet::text {

inline constexpr std::string_view kByteDigits = "0123456789ABCDEF";

inline std::string byte_name(unsigned byte) {
  return {'<', '0', 'x', kByteDigits[byte >> 4U], kByteDigits[byte & 15U], '>'};
}

// The byte that a byte piece stands for: of '<0x0A>', or the piece itself; -1 if it is neither.
inline int byte_value(std::string_view piece) {
  if (piece.size() == 1) return static_cast<uint8_t>(piece[0]);
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const size_t high = kByteDigits.find(piece[3]), low = kByteDigits.find(piece[4]);
  return high == std::string_view::npos || low == std::string_view::npos ? -1 : static_cast<int>(high * 16 + low);
}

}  // namespace gemlet::text
