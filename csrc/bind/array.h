// numpy arrays in and out: the only place that knows them. Inputs are made contiguous and of the right type once, visibly;
// outputs own their memory, or stand on an array that does.
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

// The same, beginning at a cache line (numpy's own begin at 16 bytes): an owner that is a little larger stands behind it.
template <class T>
pybind11::array_t<T> out_at_line(std::initializer_list<int64_t> shape) {
  constexpr size_t kLine = 64;
  int64_t size = 1;
  for (const int64_t n : shape) size *= n;
  pybind11::array_t<T> owner(static_cast<pybind11::ssize_t>(size + static_cast<int64_t>(kLine / sizeof(T))));
  const size_t past = reinterpret_cast<uintptr_t>(owner.data()) % kLine;
  T* first = owner.mutable_data() + (past == 0 ? 0 : (kLine - past) / sizeof(T));
  return pybind11::array_t<T>(std::vector<pybind11::ssize_t>(shape.begin(), shape.end()), first, owner);
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
