// The vocabulary of a Hugging Face folder: tokenizer.json, and which of its pieces begin and end a text.
#pragma once

#include <string>

#include "text/tokenizer.h"

namespace gemlet::engine {

// Throws ModelNotFound without a tokenizer.json, BadFile and UnsupportedModel as parse_tokenizer_json does, and BadFile if
// the pieces that begin or end a text are missing.
text::Vocabulary vocabulary_of_folder(const std::string& folder);

}  // namespace gemlet::engine
