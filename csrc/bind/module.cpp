// Table of contents of gemlet._core. The module is private: every public name is Python's.
#include "bind/bind.h"

PYBIND11_MODULE(_core, m) {
  m.doc() = "gemlet's engine; use the gemlet package, this module is private";
  m.attr("__version__") = GEMLET_VERSION;
  gemlet::bind::register_errors(m);
  gemlet::bind::register_gguf(m);
  gemlet::bind::register_safetensors(m);
  gemlet::bind::register_tokenizer(m);
  gemlet::bind::register_machine(m);
  gemlet::bind::register_constraint(m);
  gemlet::bind::register_generate(m);
  gemlet::bind::register_prompt(m);
  gemlet::bind::register_model(m);
  gemlet::bind::register_hearing(m);
  gemlet::bind::register_kept_rows(m);
  gemlet::bind::register_quantize(m);
  gemlet::bind::register_session(m);
  gemlet::bind::register_vision(m);
  gemlet::bind::register_whisper(m);

  auto testing = m.def_submodule("testing", "what the tests reach and users do not");
  gemlet::bind::register_testing_codec(testing);
  gemlet::bind::register_testing_kernels(testing);
  gemlet::bind::register_testing_wide(testing);
  gemlet::bind::register_testing_attention(testing);
  gemlet::bind::register_testing_cache(testing);
  gemlet::bind::register_testing_oracle(testing);
  gemlet::bind::register_testing_drafter(testing);
  gemlet::bind::register_testing_image(testing);
  gemlet::bind::register_testing_tokenizer(testing);
  gemlet::bind::register_testing_sampling(testing);
  gemlet::bind::register_testing_sound(testing);
}
