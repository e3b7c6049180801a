// _core.Session: fork, save, load.
#include "bind/session.h"

#include <pybind11/stl.h>

#include "bind/bind.h"
#include "engine/session_file.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

Session make(std::shared_ptr<engine::Engine> e, int64_t budget) {
  return {std::move(e), std::make_shared<engine::PrefixCache>(budget)};
}

py::bytes load(const Session& s, const std::string& path) {
  std::string notes;
  {
    const py::gil_scoped_release released;
    notes = engine::load_session(*s.engine, *s.read, path);
  }
  return notes;
}

void save(const Session& s, const std::string& path, const py::bytes& notes) {
  const std::string text = notes;
  const py::gil_scoped_release released;
  engine::save_session(*s.engine, *s.read, text, path);
}

}  // namespace

void register_session(py::module_& m) {
  py::class_<Session>(m, "Session", "What one conversation has read, with its keys and values.")
      .def(py::init(&make), py::arg("model"), py::arg("budget"))
      .def("fork", [](const Session& s) { return Session{s.engine, std::make_shared<engine::PrefixCache>(*s.read)}; })
      .def("clear", [](const Session& s) { s.read->clear(); })
      .def_property_readonly("size", [](const Session& s) { return s.read->bytes(); })
      .def_property_readonly("lengths",
                             [](const Session& s) {
                               std::vector<size_t> lengths;
                               for (const auto& snapshot : s.read->all()) lengths.push_back(snapshot->read.ids.size());
                               return lengths;
                             })
      .def("save", &save, py::arg("path"), py::arg("notes"))
      .def("load", &load, py::arg("path"));
}

}  // namespace gemlet::bind
