// A folder is a Hugging Face model; everything else is taken for GGUF, whose reader says what is wrong with it.
#include "engine/source.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "engine/folder_vocabulary.h"
#include "engine/vocabulary.h"
#include "model/checkpoint_assistant.h"

namespace gemlet::engine {
namespace {

bool is_folder(const std::filesystem::path& path) {
  std::error_code failed;
  return std::filesystem::is_directory(path, failed);
}

}  // namespace

Source open_source(const std::string& path) {
  // What a file is comes before what its vocabulary lacks.
  if (is_folder(path)) {
    auto checkpoint = model::checkpoint_of_folder(path);
    model::expect_model(*checkpoint);
    return {std::move(checkpoint), vocabulary_of_folder(path), nullptr};
  }
  const auto file = std::make_shared<const formats::Gguf>(formats::Gguf::open(path));
  auto checkpoint = model::checkpoint_of(file);
  model::expect_model(*checkpoint);
  return {std::move(checkpoint), vocabulary_from(file), file};
}

text::Vocabulary vocabulary_at(const std::string& path) {
  const std::filesystem::path at(path);
  if (is_folder(at)) return vocabulary_of_folder(path);
  if (at.filename() == "tokenizer.json") return vocabulary_of_folder(at.parent_path().string());
  return vocabulary_from(std::make_shared<const formats::Gguf>(formats::Gguf::open(path)));
}

}  // namespace gemlet::engine
