// How a caller names the arithmetic of the products, the same for every model. What the products do with it is the ops'.
#pragma once

#include <string>

#include "core/error.h"

namespace gemlet::engine {

// Whether activations stay float32. Throws BadArgument.
inline bool choose_float(const std::string& wanted) {
  if (wanted != "auto" && wanted != "float32")
    throw BadArgument(cat("compute: expected 'auto' or 'float32', got '", wanted, "'"));
  return wanted == "float32";
}

}  // namespace gemlet::engine
