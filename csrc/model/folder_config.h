// config.json of a Hugging Face folder as sizes. What a file leaves out is what the classes of transformers take it to be,
// since that is what the weights were made with.
#pragma once

#include <string>

#include "formats/json_value.h"
#include "model/config.h"

namespace gemlet::model {

// Everything but `vocabulary`'s agreement with the weights, `name` and `suppress`, which other files know.
// `where` opens every message: "config: 'file'". Throws UnsupportedModel (another model, or a setting that gemlet does not
// run), BadFile (numbers missing, impossible or in contradiction).
Config folder_config(const formats::JsonValue& json, const std::string& where);

// Whether the head is the embedding again.
bool ties_head(const formats::JsonValue& json);

}  // namespace gemlet::model
