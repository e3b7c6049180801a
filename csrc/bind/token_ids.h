// Token ids between numpy and the engine: any integer sequence in, checked; an owning int32 array out.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <vector>

#include "bind/bind.h"

namespace gemlet::bind {

// Copies, so that the GIL can be released. TypeError if not one-dimensional integers, BadArgument if one passes 32 bits.
std::vector<int32_t> ids_from(const pybind11::object& ids);
pybind11::array_t<int32_t> ids_to(std::vector<int32_t> ids);  // (n), takes over the memory

}  // namespace gemlet::bind
