// The table of well-formed UTF-8 (Unicode standard, table 3-7) as a walk: what the byte after a held prefix may be.
#include "text/utf8_stream.h"

#include <cstdint>

namespace gemlet::text {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// Bytes of a character that starts with `first`; 0 if none does.
size_t length_of(uint8_t first) {
  if (first < 0x80) return 1;
  if (first < 0xC2) return 0;
  if (first < 0xE0) return 2;
  if (first < 0xF0) return 3;
  return first < 0xF5 ? 4 : 0;
}

// Whether `next` may stand at `place` (1, 2, 3) of a character that starts with `first`: overlong forms, surrogates and
// numbers past U+10FFFF show in the second byte.
bool continues(uint8_t first, size_t place, uint8_t next) {
  uint8_t low = 0x80, high = 0xBF;
  if (place == 1) {
    if (first == 0xE0) low = 0xA0;
    if (first == 0xED) high = 0x9F;
    if (first == 0xF0) low = 0x90;
    if (first == 0xF4) high = 0x8F;
  }
  return low <= next && next <= high;
}

}  // namespace

std::string Utf8Stream::push(std::string_view bytes) {
  std::string text;
  text.reserve(held_.size() + bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if (held_.empty()) {
      const size_t length = length_of(byte);
      if (length == 0)
        text += kReplacement;
      else
        (length == 1 ? text : held_).push_back(bytes[i]);
      ++i;
      continue;
    }
    const auto first = static_cast<uint8_t>(held_[0]);
    if (!continues(first, held_.size(), byte)) {  // this byte is looked at again, as a first one
      text += kReplacement;
      held_.clear();
      continue;
    }
    held_.push_back(bytes[i++]);
    if (held_.size() == length_of(first)) {
      text += held_;
      held_.clear();
    }
  }
  return text;
}

std::string Utf8Stream::finish() {
  const bool unfinished = !held_.empty();
  held_.clear();
  return unfinished ? std::string(kReplacement) : std::string();
}

}  // namespace gemlet::text
