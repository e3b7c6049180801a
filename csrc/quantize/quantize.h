// A checkpoint as a GGUF file in fewer bits: file to file, in constant memory, the same bytes for any number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "formats/gguf.h"
#include "model/checkpoint.h"
#include "text/tokenizer.h"

namespace gemlet::quantize {

struct Source {
  const model::Checkpoint& weights;
  const text::Vocabulary* vocabulary = nullptr;  // of a folder
  const formats::Gguf* file = nullptr;           // or of a GGUF file, whose keys are copied
};

struct Summary {
  uint64_t bytes = 0;              // of the file
  int64_t parameters = 0;          // written
  std::vector<std::string> notes;  // what could not be done as asked
};

// progress(done, total): bytes of weights read; what it throws ends the work, and nothing is left behind.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

// Throws BadArgument (format, threads), UnsupportedModel (sizes that GGUF cannot say, weights that are quantised already),
// BadFile (weights that are no numbers), OutOfMemory (no room on the disk).
Summary quantize(const Source& source, const std::string& path, const std::string& format, int threads,
                 const Progress& progress);

}  // namespace gemlet::quantize
