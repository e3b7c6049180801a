// What every tokenizer shares; each algorithm has a file of its own.
#include "text/tokenizer.h"

namespace gemlet::text {

std::string Tokenizer::decode(const int32_t* ids, size_t count, bool special) const {
  std::string bytes;
  for (size_t i = 0; i < count; ++i) bytes += piece(ids[i], special);
  return bytes;
}

}  // namespace gemlet::text
