// A tap sees each named intermediate of a forward pass. Off (null) by default, at the cost of one comparison.
#pragma once

#include <functional>

#include "core/tensor.h"

namespace gemlet {

// name as in the reference ("layer_out", "final_norm", ...), layer (or -1), the rows of this block.
using Tap = std::function<void(const char* name, int layer, Rows<const float> x)>;

}  // namespace gemlet
