// _core.Tokenizer and _core.Utf8Stream: text and ids across the boundary, the GIL released around the work.
#include "text/tokenizer.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "bind/token_ids.h"
#include "core/error.h"
#include "engine/source.h"
#include "engine/vocabulary.h"
#include "text/utf8_stream.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using text::Tokenizer;

// The bytes of a str or bytes object, in place: both are immutable, so they stay while the object is held.
std::string_view bytes_of(const py::object& object, const char* what) {
  Py_ssize_t size = 0;
  if (PyUnicode_Check(object.ptr())) {
    const char* data = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
    if (data == nullptr) throw py::error_already_set();
    return {data, static_cast<size_t>(size)};
  }
  if (!PyBytes_Check(object.ptr()))
    throw py::type_error(
        cat(what, ": expected str or bytes, got ", std::string(py::str(py::type::of(object).attr("__name__")))));
  return {PyBytes_AS_STRING(object.ptr()), static_cast<size_t>(PyBytes_GET_SIZE(object.ptr()))};
}

py::array_t<int32_t> encode(const Tokenizer& self, const py::object& text, bool add_bos, bool parse_special) {
  const std::string_view bytes = bytes_of(text, "text");
  std::vector<int32_t> ids;
  {
    const py::gil_scoped_release released;
    self.encode(bytes, add_bos, parse_special, ids);
  }
  return ids_to(std::move(ids));
}

std::string decode(const Tokenizer& self, const py::object& ids, bool special) {
  const std::vector<int32_t> copied = ids_from(ids);
  const py::gil_scoped_release released;
  return self.decode(copied.data(), copied.size(), special);
}

py::str replaced(const std::string& bytes) {
  PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
  if (text == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::str>(text);
}

std::shared_ptr<Tokenizer> open(const std::string& path) {
  const py::gil_scoped_release released;
  text::Vocabulary vocabulary = engine::vocabulary_at(path);
  // Python knows no const; every bound method is.
  return std::const_pointer_cast<Tokenizer>(
      std::shared_ptr<const Tokenizer>(engine::tokenizer_of(std::move(vocabulary))));
}

}  // namespace

void register_tokenizer(py::module_& m) {
  py::class_<Tokenizer, std::shared_ptr<Tokenizer>>(m, "Tokenizer", "Text to token ids and back.")
      .def(py::init(&open), py::arg("path"))
      .def_property_readonly("vocab_size", [](const Tokenizer& self) { return self.vocabulary().pieces.size(); })
      .def_property_readonly("bos", [](const Tokenizer& self) { return self.vocabulary().bos; })
      .def_property_readonly("eos", [](const Tokenizer& self) { return self.vocabulary().eos; })
      .def_property_readonly("add_bos", [](const Tokenizer& self) { return self.vocabulary().add_bos; })
      .def("encode", &encode, py::arg("text"), py::arg("add_bos") = true, py::arg("parse_special") = false)
      .def(
          "decode",
          [](const Tokenizer& self, const py::object& ids, bool special) {
            return replaced(decode(self, ids, special));
          },
          py::arg("ids"), py::arg("special") = false)
      .def(
          "decode_bytes",
          [](const Tokenizer& self, const py::object& ids, bool special) {
            return py::bytes(decode(self, ids, special));
          },
          py::arg("ids"), py::arg("special") = false)
      .def(
          "piece", [](const Tokenizer& self, int32_t id, bool special) { return py::bytes(self.piece(id, special)); },
          py::arg("id"), py::arg("special") = false)
      .def(
          "find", [](const Tokenizer& self, const py::object& piece) { return self.find(bytes_of(piece, "piece")); },
          py::arg("piece"));
  py::class_<text::Utf8Stream>(m, "Utf8Stream", "Bytes in pieces of any size to str, never half a character.")
      .def(py::init<>())
      .def(
          "push",
          [](text::Utf8Stream& self, const py::bytes& data) { return py::str(self.push(std::string_view(data))); },
          py::arg("data"))
      .def("finish", [](text::Utf8Stream& self) { return py::str(self.finish()); });
}

}  // namespace gemlet::bind
