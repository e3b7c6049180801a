// Table of contents of gemlet._core. The module is private: every public name is Python's.
#include "bind/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "gemlet's engine; use the gemlet package, this module is private";
  m.attr("__version__") = GEMLET_VERSION;
  gemlet::bind::register_errors(m);
  gemlet::bind::register_tokenizer(m);
}
