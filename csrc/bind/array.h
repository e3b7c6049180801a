// numpy arrays in and out: the only place that knows them. Inputs are made contiguous and of the right type once, visibly;
// outputs own their memory.
#pragma once

#include <pybind11/numpy.h>

#include <cstdint>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/tensor.h"

namespace gemlet::bind {

// C-contiguous input of element type T; other layouts and types are converted by a copy.
template <class T>
using In = pybind11::array_t<T, pybind11::array::c_style | pybind11::array::forcecast>;

template <class T>
pybind11::array_t<T> out(std::initializer_list<int64_t> shape) {
  return pybind11::array_t<T>(std::vector<pybind11::ssize_t>(shape.begin(), shape.end()));
}

template <class T>
void expect_dims(const In<T>& a, int dims, const char* name) {
  if (a.ndim() != dims) throw BadArgument(cat(name, ": expected ", dims, " dimension(s), got ", a.ndim()));
}

template <class T>
Rows<const T> rows_of(const In<T>& a, const char* name) {
  expect_dims(a, 2, name);
  return {a.data(), a.shape(0), a.shape(1)};
}

template <class T>
Rows<T> rows_of(pybind11::array_t<T>& a) {
  return {a.mutable_data(), a.shape(0), a.shape(1)};
}

}  // namespace gemlet::bind
