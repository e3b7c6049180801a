// Tensors of a weight file as Python values; neither format's own business.
#include "bind/weight_file.h"

#include <pybind11/stl.h>

#include "core/error.h"

namespace py = pybind11;

namespace gemlet::bind {

py::str lenient_text(std::string_view bytes) {
  PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), static_cast<py::ssize_t>(bytes.size()), "replace");
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

py::str path_text(const std::string& path) {
  PyObject* text = PyUnicode_DecodeFSDefaultAndSize(path.data(), static_cast<py::ssize_t>(path.size()));
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

std::string path_bytes(const py::object& path, const char* format) {
  auto bytes = py::module_::import("os").attr("fsencode")(path).cast<std::string>();
  if (bytes.find('\0') != std::string::npos)
    throw BadArgument(cat(format, ": expected a path, got one that holds a zero byte"));
  return bytes;
}

py::list tensor_list(const std::vector<formats::TensorInfo>& tensors,
                     const std::vector<std::shared_ptr<const MappedFile>>& files) {
  py::list out;
  for (const formats::TensorInfo& t : tensors) {
    py::dict entry;
    entry["name"] = lenient_text(t.name);
    entry["type"] = codec::info(t.type).name;
    entry["shape"] = py::tuple(py::cast(t.shape));
    entry["bytes"] = t.bytes;
    entry["file"] = path_text(files[static_cast<size_t>(t.file_index)]->path());
    out.append(entry);
  }
  return out;
}

py::array_t<float> decoded(const formats::TensorInfo& tensor, const std::string& where) {
  const codec::TypeInfo& type = codec::info(tensor.type);
  if (type.decode == nullptr)
    throw UnsupportedModel(
        cat(where, ": tensor '", tensor.name, "': expected weights, got ", type.name, ", which is not decoded"));
  py::array_t<float> out(std::vector<py::ssize_t>(tensor.shape.begin(), tensor.shape.end()));
  float* to = out.mutable_data();
  {
    // Rows are whole blocks and follow each other, so the tensor is one long row: also one of no dimension, or empty.
    const py::gil_scoped_release release;
    type.decode(tensor.data, static_cast<int64_t>(tensor.bytes / type.block_bytes), to);
  }
  return out;
}

}  // namespace gemlet::bind
