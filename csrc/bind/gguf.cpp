// gemlet._core.Gguf: a file's metadata and tensors as Python values, for looking at.
#include "formats/gguf.h"

#include <algorithm>
#include <cstring>

#include "bind/bind.h"
#include "bind/weight_file.h"
#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using formats::Gguf;
using formats::Value;
using formats::ValueType;

py::object number(const Value& value, uint64_t i) {
  if (const auto b = value.as_bool(i)) return py::bool_(*b);
  if (const auto n = value.as_int(i)) return py::int_(*n);
  const auto x = value.as_float(i);
  if (value.type == ValueType::U64) {  // above 2^63, where as_int has no answer
    uint64_t wide;
    std::memcpy(&wide, value.data + static_cast<size_t>(i) * sizeof wide, sizeof wide);
    return py::int_(wide);
  }
  return py::float_(x.value_or(0.0));
}

py::list first_elements(const Value& value, uint64_t count) {
  py::list out;
  if (value.type == ValueType::String) {
    for (const std::string_view s : value.strings()) {
      if (out.size() >= count) break;
      out.append(lenient_text(s));
    }
  } else {
    for (uint64_t i = 0; i < count; ++i) out.append(number(value, i));
  }
  return out;
}

py::object python_value(const Value& value, uint64_t max_array) {
  if (const auto s = value.as_string()) return lenient_text(*s);
  if (!value.is_array) return number(value, 0);
  const py::list first = first_elements(value, std::min(value.count, max_array));
  if (value.count <= max_array) return first;
  py::dict summary;
  summary["type"] = formats::name_of(value.type);
  summary["count"] = value.count;
  summary["first"] = first;
  return summary;
}

py::dict metadata(const Gguf& gguf, uint64_t max_array) {
  py::dict out;
  for (const auto& [key, value] : gguf.metadata()) out[lenient_text(key)] = python_value(value, max_array);
  return out;
}

py::array_t<float> tensor(const Gguf& gguf, const std::string& name) {
  const std::string where = cat("gguf: '", gguf.path(), "'");
  const formats::TensorInfo* t = gguf.tensor(name);
  if (t == nullptr) throw BadArgument(cat(where, ": there is no tensor '", name, "'; tensors() lists what there is"));
  return decoded(*t, where);
}

Gguf open(const py::object& path) {
  const std::string bytes = path_bytes(path, "gguf");
  const py::gil_scoped_release release;
  return Gguf::open(bytes);
}

}  // namespace

void register_gguf(py::module_& m) {
  py::class_<Gguf>(m, "Gguf", "A GGUF file (or split set), opened and checked; for looking at, not for running.")
      .def(py::init(&open), py::arg("path"))
      .def_property_readonly("path", [](const Gguf& g) { return path_text(g.path()); })
      .def("metadata", &metadata, py::arg("max_array") = 16,
           "Every value by key; an array longer than max_array as {\"type\", \"count\", \"first\"}.")
      .def(
          "tensors", [](const Gguf& g) { return tensor_list(g.tensors(), g.files()); },
          "A dict for each tensor: name, type, shape (outermost first), bytes, file.")
      .def("tensor", &tensor, py::arg("name"), "The tensor dequantised to a new float32 array.");
}

}  // namespace gemlet::bind
