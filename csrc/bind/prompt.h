// A prompt between Python and the engine: _core.Prompt, or a row of token ids, which is one without soft rows.
#pragma once

#include <pybind11/pybind11.h>

#include "model/config.h"
#include "model/prompt.h"

namespace gemlet::bind {

// Copies ids and shares soft rows, so that the GIL can be released. Throws as ids_from does, and BadArgument where soft
// rows are not as wide as the model.
model::Prompt prompt_from(const pybind11::object& prompt, const model::Config& config);

}  // namespace gemlet::bind
