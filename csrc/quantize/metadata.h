// The keys of a GGUF file: from sizes and a vocabulary, or from another GGUF file.
#pragma once

#include "formats/gguf.h"
#include "formats/gguf_header.h"
#include "model/checkpoint.h"
#include "quantize/policy.h"
#include "text/tokenizer.h"

namespace gemlet::quantize {

// `vocabulary` as its reader made it: its merges must still be there.
void describe(const model::Checkpoint& from, const model::Config& sizes, const text::Vocabulary& vocabulary,
              const Policy& policy, formats::GgufHeader& into);
// All keys but those that say how the weights were quantised or split.
void copy_description(const formats::Gguf& from, const Policy& policy, formats::GgufHeader& into);

}  // namespace gemlet::quantize
