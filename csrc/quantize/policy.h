// Which tensor gets which format. Knows names and shapes, not files.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "codec/codec.h"

namespace gemlet::quantize {

struct Policy {
  std::string name;        // "q8_0", "q4_0", "f16"
  codec::Type most;        // of matrices
  codec::Type careful;     // of those that a few bits hurt: embedding, head, the dense part beside experts
  uint32_t file_type = 0;  // GGUF's number for it
};

// Throws BadArgument for a name that is no format, or one that this version cannot write.
Policy policy_for(const std::string& name);

// `experts`: whether the model has a mixture. `source`: what the tensor is now.
codec::Type type_for(const Policy& policy, std::string_view tensor, const std::vector<int64_t>& shape,
                     codec::Type source, bool experts);

}  // namespace gemlet::quantize
