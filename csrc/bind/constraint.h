// Constraints written in Python, called from the engine's thread; and the door that shuts before the interpreter goes.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <memory>

#include "engine/constraint.h"

namespace gemlet::bind {

// `object` has mask() -> int32 or uint32 array of (V + 31) / 32 words or None, accept(id), finished() -> bool.
std::shared_ptr<engine::Constraint> constraint_from(pybind11::object object, int64_t vocabulary);

}  // namespace gemlet::bind
