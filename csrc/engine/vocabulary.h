// A GGUF file's `tokenizer.ggml.*` keys as a Vocabulary that looks into the mapping. The one place that knows these keys.
#pragma once

#include <memory>

#include "formats/gguf.h"
#include "text/tokenizer.h"

namespace gemlet::engine {

// Throws UnsupportedModel (another kind of tokenizer), BadFile (a key is missing, or has the wrong type, length or value).
text::Vocabulary vocabulary_from(const std::shared_ptr<const formats::Gguf>& file);

// The algorithm that the vocabulary is for: BPE if it has merges, else SPM.
std::unique_ptr<const text::Tokenizer> tokenizer_of(text::Vocabulary vocabulary);

}  // namespace gemlet::engine
