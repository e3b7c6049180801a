// C++ exceptions -> the Python classes of gemlet.errors, in one place.
#include "core/error.h"

#include <cstring>
#include <exception>

#include "bind/bind.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

// A message may quote a path, whose bytes need not be UTF-8.
void set(const py::handle& type, const char* what) {
  const py::object message = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(what, static_cast<py::ssize_t>(std::strlen(what)), "backslashreplace"));
  if (message) PyErr_SetObject(type.ptr(), message.ptr());
}

// Looked up when an error is raised, so that importing the module needs no other module.
void raise(const char* name, const char* what) {
  const py::object type = py::module_::import("gemlet.errors").attr(name);
  set(type, what);
}

void translate(std::exception_ptr held) {
  if (!held) return;
  try {
    std::rethrow_exception(held);
  } catch (const BadFile& e) {
    raise("BadFile", e.what());
  } catch (const ModelNotFound& e) {
    raise("ModelNotFound", e.what());
  } catch (const UnsupportedModel& e) {
    raise("UnsupportedModel", e.what());
  } catch (const ContextOverflow& e) {
    raise("ContextOverflow", e.what());
  } catch (const OutOfMemory& e) {
    raise("OutOfMemory", e.what());
  } catch (const SchemaError& e) {
    raise("SchemaError", e.what());
  } catch (const Cancelled& e) {
    raise("Cancelled", e.what());
  } catch (const BadArgument& e) {
    set(PyExc_ValueError, e.what());
  } catch (const Error& e) {
    raise("GemletError", e.what());
  } catch (const std::bad_alloc&) {
    raise("OutOfMemory", "memory: an allocation failed; close other models or load with a smaller context");
  }
}

}  // namespace

void register_errors(py::module_& /*m*/) { py::register_exception_translator(&translate); }

}  // namespace gemlet::bind
