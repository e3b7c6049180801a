// A tensor as every reader of files hands it out: a name, a type, a shape, and bytes inside a mapping. Owns no weights.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "codec/codec.h"

namespace gemlet::formats {

struct TensorInfo {
  std::string name;
  codec::Type type;
  std::vector<int64_t>
      shape;            // outermost first, so a linear weight is (out, in); what it may be is the reader's to say
  const uint8_t* data;  // in the mapping; aligned only where the reader says so
  size_t bytes;
  size_t file_offset;  // of `data` in its file
  int file_index;      // which of the reader's files
};

}  // namespace gemlet::formats
