// What each binding file registers; module.cpp is the table of contents.
#pragma once

#include <pybind11/pybind11.h>

namespace gemlet::bind {

void register_errors(pybind11::module_& m);
void register_gguf(pybind11::module_& m);
void register_safetensors(pybind11::module_& m);
void register_tokenizer(pybind11::module_& m);
void register_machine(pybind11::module_& m);
void register_constraint(pybind11::module_& m);
void register_hearing(pybind11::module_& m);
void register_kept_rows(pybind11::module_& m);
void register_generate(pybind11::module_& m);
void register_model(pybind11::module_& m);
void register_prompt(pybind11::module_& m);
void register_quantize(pybind11::module_& m);
void register_session(pybind11::module_& m);
void register_whisper(pybind11::module_& m);
void register_vision(pybind11::module_& m);

// gemlet._core.testing: what the tests reach that users do not.
void register_testing_codec(pybind11::module_& testing);
void register_testing_kernels(pybind11::module_& testing);
void register_testing_wide(pybind11::module_& testing);
void register_testing_attention(pybind11::module_& testing);
void register_testing_cache(pybind11::module_& testing);
void register_testing_attention(pybind11::module_& m);
void register_testing_oracle(pybind11::module_& testing);
void register_testing_drafter(pybind11::module_& testing);
void register_testing_image(pybind11::module_& testing);
void register_testing_tokenizer(pybind11::module_& testing);
void register_testing_sampling(pybind11::module_& testing);
void register_testing_sound(pybind11::module_& testing);

}  // namespace gemlet::bind
