// _core.quantize: paths in, a dict out; the GIL is held only to report progress and to look for Ctrl-C.
#include "quantize/quantize.h"

#include <pybind11/functional.h>
#include <pybind11/stl.h>

#include <optional>

#include "bind/bind.h"
#include "engine/source.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using Report = std::optional<py::function>;

py::dict quantize(const std::string& source, const std::string& path, const std::string& format, int threads,
                  const Report& progress) {
  const auto tell = [&](uint64_t done, uint64_t total) {
    const py::gil_scoped_acquire acquired;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
    if (progress) (*progress)(done, total);
  };
  quantize::Summary summary;
  {
    const py::gil_scoped_release released;
    const engine::Source opened = engine::open_source(source);
    const bool folder = opened.file == nullptr;
    summary = quantize::quantize({*opened.checkpoint, folder ? &opened.vocabulary : nullptr, opened.file.get()}, path,
                                 format, threads, tell);
  }
  py::dict d;
  d["bytes"] = summary.bytes, d["parameters"] = summary.parameters, d["notes"] = summary.notes;
  return d;
}

}  // namespace

void register_quantize(py::module_& m) {
  m.def("quantize", &quantize, py::arg("source"), py::arg("path"), py::arg("format"), py::arg("threads") = 0,
        py::arg("progress") = py::none(), "A folder's or a GGUF file's weights in fewer bits, as a new GGUF file.");
}

}  // namespace gemlet::bind
