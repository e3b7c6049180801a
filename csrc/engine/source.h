// What a path stands for: a GGUF file or a Hugging Face folder, each with its weights and its vocabulary.
#pragma once

#include <memory>
#include <string>

#include "model/checkpoint.h"
#include "text/tokenizer.h"

namespace gemlet::engine {

struct Source {
  std::shared_ptr<const model::Checkpoint> checkpoint;
  text::Vocabulary vocabulary;
  std::shared_ptr<const formats::Gguf> file;  // null for a folder
};

// Throws what the readers throw: ModelNotFound, BadFile, UnsupportedModel.
Source open_source(const std::string& path);

// Only the vocabulary: of a GGUF file, of a folder, or of the tokenizer.json in one.
text::Vocabulary vocabulary_at(const std::string& path);

}  // namespace gemlet::engine
