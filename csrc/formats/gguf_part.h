// One GGUF file, or one part of a split set, turned from bytes into checked values and tensors. Private to this folder.
// Knows no file names and no other parts: gguf.cpp puts parts together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/gguf.h"

namespace gemlet::formats {

struct GgufPart {
  std::vector<std::pair<std::string, Value>> metadata;
  std::vector<TensorInfo> tensors;
};

// `label` names the file in messages. Throws BadFile or UnsupportedModel; nothing in the result is left to check.
GgufPart parse_part(const uint8_t* bytes, size_t size, std::string_view label, int file_index);

}  // namespace gemlet::formats
