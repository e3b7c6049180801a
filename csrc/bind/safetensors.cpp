// gemlet._core.Safetensors: a file's or a sharded folder's tensors as Python values, for looking at.
#include "formats/safetensors.h"

#include "bind/bind.h"
#include "bind/weight_file.h"
#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using formats::Safetensors;

py::dict metadata(const Safetensors& s) {
  py::dict out;
  for (const auto& [key, value] : s.metadata()) out[lenient_text(key)] = lenient_text(value);
  return out;
}

py::array_t<float> tensor(const Safetensors& s, const std::string& name) {
  const std::string where = cat("safetensors: '", s.path(), "'");
  const formats::TensorInfo* t = s.tensor(name);
  if (t == nullptr) throw BadArgument(cat(where, ": there is no tensor '", name, "'; tensors() lists what there is"));
  return decoded(*t, where);
}

Safetensors open(const py::object& path) {
  const std::string bytes = path_bytes(path, "safetensors");
  const py::gil_scoped_release release;
  return Safetensors::open(bytes);
}

}  // namespace

void register_safetensors(py::module_& m) {
  py::class_<Safetensors>(m, "Safetensors",
                          "A safetensors file, or a folder of shards, opened and checked; for looking at, not for "
                          "running.")
      .def(py::init(&open), py::arg("path"))
      .def_property_readonly("path", [](const Safetensors& s) { return path_text(s.path()); })
      .def("metadata", &metadata, "The strings of `__metadata__` by key; of shards, the first value of each key.")
      .def(
          "tensors", [](const Safetensors& s) { return tensor_list(s.tensors(), s.files()); },
          "A dict for each tensor: name, type, shape (outermost first), bytes, file.")
      .def("tensor", &tensor, py::arg("name"), "The tensor (F32, F16 or BF16) as a new float32 array.");
}

}  // namespace gemlet::bind
