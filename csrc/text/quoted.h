// Bytes of a piece as a message may show them: quoted, cut short, and with every byte outside printable ASCII as \xNN,
// since a damaged vocabulary need not be valid UTF-8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace gemlet::text {

inline std::string quoted(std::string_view piece) {
  constexpr size_t kShown = 48;
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text = "'";
  for (const char c : piece.substr(0, kShown)) {
    const auto byte = static_cast<uint8_t>(c);
    if (byte >= 0x20 && byte < 0x7F && c != '\\')
      text += c;
    else
      (text += "\\x") += {kDigits[byte >> 4U], kDigits[byte & 15U]};
  }
  return text += piece.size() > kShown ? "...'" : "'";
}

}  // namespace gemlet::text
