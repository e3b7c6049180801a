// A `tokenizer.json` of Gemma's kind (the `tokenizers` package writes it) as a Vocabulary that owns its strings.
// What the file asks for and this project does not do is refused by name; which pieces begin and end a text stands elsewhere.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace gemlet::engine {

// `where` opens every message: "tokenizer: 'file'". Throws BadFile (no JSON of this kind, ids that do not fit together) and
// UnsupportedModel (another model, normalizer or pre-tokenizer than Gemma 3's and 4's).
text::Vocabulary parse_tokenizer_json(std::string_view json, const std::string& where);

}  // namespace gemlet::engine
