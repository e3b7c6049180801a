// The conversion asks numpy for the array and never casts silently: 2.5 or 2**40 as a token id is an error.
#include "bind/token_ids.h"

#include <limits>
#include <memory>
#include <string>
#include <utility>

#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {

std::vector<int32_t> ids_from(const py::object& ids) {
  const py::array array = py::array::ensure(ids);
  if (!array) {
    PyErr_Clear();
    throw py::type_error(cat("token ids: expected a one-dimensional array of integers, got ",
                             std::string(py::str(py::type::of(ids).attr("__name__")))));
  }
  const char kind = array.dtype().kind();
  if (array.ndim() != 1 || (array.size() > 0 && kind != 'i' && kind != 'u'))
    throw py::type_error(cat("token ids: expected a one-dimensional array of integers, got ", array.ndim(),
                             " dimensions of ", std::string(py::str(array.dtype()))));
  if (array.size() == 0) return {};
  using Wide = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;
  const bool huge =
      kind == 'u' && array.itemsize() == 8;  // these may wrap on the way to int64, so look at them as they are
  const Wide wide(array);
  std::vector<int32_t> out(static_cast<size_t>(wide.size()));
  for (size_t i = 0; i < out.size(); ++i) {
    const int64_t id = wide.data()[i];
    if (id < std::numeric_limits<int32_t>::min() || id > std::numeric_limits<int32_t>::max() || (huge && id < 0))
      throw BadArgument(
          cat("token ids: item ", i, " does not fit 32 bits: ", huge ? cat(static_cast<uint64_t>(id)) : cat(id)));
    out[i] = static_cast<int32_t>(id);
  }
  return out;
}

py::array_t<int32_t> ids_to(std::vector<int32_t> ids) {
  auto held = std::make_unique<std::vector<int32_t>>(std::move(ids));
  held->shrink_to_fit();
  const py::capsule owner(held.get(), [](void* memory) { delete static_cast<std::vector<int32_t>*>(memory); });
  const std::vector<int32_t>* const kept = held.release();
  return py::array_t<int32_t>(static_cast<py::ssize_t>(kept->size()), kept->data(), owner);
}

}  // namespace gemlet::bind
