// gemlet._core.Gguf: a file's metadata and tensors as Python values, for looking at.
#include "formats/gguf.h"

#include <algorithm>
#include <cstring>

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bind/bind.h"
#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using formats::Gguf;
using formats::TensorInfo;
using formats::Value;
using formats::ValueType;

// Files may hold any bytes where text is expected; looking at them must not fail.
py::str text(std::string_view bytes) {
  PyObject* decoded = PyUnicode_DecodeUTF8(bytes.data(), static_cast<py::ssize_t>(bytes.size()), "replace");
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

py::str path_text(const std::string& path) {
  PyObject* decoded = PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<py::ssize_t>(path.size()));
  if (decoded == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(decoded);
}

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
      out.append(text(s));
    }
  } else {
    for (uint64_t i = 0; i < count; ++i) out.append(number(value, i));
  }
  return out;
}

py::object python_value(const Value& value, uint64_t max_array) {
  if (const auto s = value.as_string()) return text(*s);
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
  for (const auto& [key, value] : gguf.metadata()) out[text(key)] = python_value(value, max_array);
  return out;
}

py::list tensors(const Gguf& gguf) {
  py::list out;
  for (const TensorInfo& t : gguf.tensors()) {
    py::dict entry;
    entry["name"] = text(t.name);
    entry["type"] = codec::info(t.type).name;
    entry["shape"] = py::tuple(py::cast(t.shape));
    entry["bytes"] = t.bytes;
    entry["file"] = path_text(gguf.files()[static_cast<size_t>(t.file_index)]->path());
    out.append(entry);
  }
  return out;
}

py::array_t<float> tensor(const Gguf& gguf, const std::string& name) {
  const TensorInfo* t = gguf.tensor(name);
  if (t == nullptr)
    throw BadArgument(cat("gguf: '", gguf.path(), "': there is no tensor '", name, "'; tensors() lists what there is"));
  codec::Matrix m;
  m.data = t->data;
  m.type = t->type;
  m.cols = t->shape.back();
  m.row_bytes = codec::row_bytes(t->type, m.cols);
  m.rows = static_cast<int64_t>(t->bytes / m.row_bytes);
  if (codec::info(t->type).decode == nullptr)
    throw UnsupportedModel(cat("gguf: '", gguf.path(), "': tensor '", name, "': expected weights, got ",
                               codec::info(t->type).name, ", which is not decoded"));
  py::array_t<float> out(std::vector<py::ssize_t>(t->shape.begin(), t->shape.end()));
  float* to = out.mutable_data();
  {
    const py::gil_scoped_release release;
    for (int64_t r = 0; r < m.rows; ++r) codec::decode_row(m, r, to + r * m.cols);
  }
  return out;
}

Gguf open(const py::object& path) {
  const auto bytes = py::module_::import("os").attr("fsencode")(path).cast<std::string>();
  if (bytes.find('\0') != std::string::npos) throw BadArgument("gguf: expected a path, got one that holds a zero byte");
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
      .def("tensors", &tensors, "A dict for each tensor: name, type, shape (outermost first), bytes, file.")
      .def("tensor", &tensor, py::arg("name"), "The tensor dequantised to a new float32 array.");
}

}  // namespace gemlet::bind
