// The cursor's messages; its steps are inline in the header.
#include "formats/byte_cursor.h"

#include <limits>

#include "core/error.h"

namespace gemlet::formats {

std::string printable(std::string_view name) {
  constexpr size_t kLongest = 96;
  constexpr char kHex[] = "0123456789abcdef";
  std::string out = "'";
  for (const char c : name.substr(0, kLongest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      out += c;
    } else {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  if (name.size() > kLongest) out += "...";
  return out + "'";
}

void ByteCursor::refuse(const std::string& problem) const {
  const std::string subject = name_.empty() ? std::string(what_) : cat(what_, " ", printable(name_));
  throw BadFile(cat(format_, ": '", label_, "': ", subject, ": ", problem));
}

void ByteCursor::ends_too_early(uint64_t count, uint64_t width) const {
  if (count > (std::numeric_limits<uint64_t>::max() - offset_) / width)
    refuse(cat("a length of ", count, " at byte ", offset_, " is impossible; the file is damaged, download it again"));
  refuse(cat("file ends at byte ", size_, ", needs ", offset_ + count * width, "; download it again"));
}

}  // namespace gemlet::formats
