// What each binding file registers; module.cpp is the table of contents.
#pragma once

#include <pybind11/pybind11.h>

namespace gemlet::bind {

void register_errors(pybind11::module_& m);
void register_tokenizer(pybind11::module_& m);

}  // namespace gemlet::bind
