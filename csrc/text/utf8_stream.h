// Bytes of tokens in, valid UTF-8 out: holds back an unfinished character until it is complete or proven invalid, in which
// case each maximal invalid run becomes U+FFFD, as Python's bytes.decode("utf-8", "replace") does.
#pragma once

#include <string>
#include <string_view>

namespace gemlet::text {

class Utf8Stream {
 public:
  std::string push(std::string_view bytes);  // the text that is now certain
  std::string finish();                      // what is left; an unfinished character becomes U+FFFD

 private:
  std::string held_;  // at most 3 bytes
};

}  // namespace gemlet::text
