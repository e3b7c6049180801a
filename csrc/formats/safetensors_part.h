// One safetensors file turned from bytes into checked tensors. Private to this folder.
// Knows no file names and no other shards: safetensors.cpp puts shards together.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/tensor_info.h"

namespace gemlet::formats {

struct SafetensorsPart {
  std::vector<std::pair<std::string, std::string>> metadata;
  std::vector<TensorInfo> tensors;
};

// The longest header, and index, that is read.
constexpr uint64_t kLongestSafetensorsHeader = 100'000'000;

// `label` names the file in messages. Throws BadFile or UnsupportedModel; nothing in the result is left to check.
SafetensorsPart parse_safetensors(const uint8_t* bytes, size_t size, std::string_view label, int file_index);

}  // namespace gemlet::formats
