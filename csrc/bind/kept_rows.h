// Rows that outlive what they are made of: numpy arrays over pages of their own, whose owner C++ can share without a copy.
#pragma once

#include <cstdint>
#include <memory>

#include "bind/array.h"

namespace gemlet::bind {

// (n, D), all zero, in pages of their own.
pybind11::array_t<float> kept_rows(int64_t n, int64_t width);
// What keeps rows from kept_rows(), or a part of them, alive and points at their first value. Null for any other array, and
// for one that can be written to, whose values may still change.
std::shared_ptr<const float> shared_rows(const In<float>& rows);

}  // namespace gemlet::bind
