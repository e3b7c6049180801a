// A checkpoint as the decoder wants it: sizes, and tensors under GGUF's names. Whether they lie in a GGUF file or in a
// Hugging Face folder is decided when it is opened, and nothing after that asks.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "formats/gguf.h"
#include "formats/tensor_info.h"
#include "model/config.h"

namespace gemlet::model {

// How a checkpoint's makers want it to generate; what they do not say is left empty.
struct GenerationDefaults {
  std::vector<int32_t> end_ids;
  std::optional<double> temperature, top_p, min_p;
  std::optional<int64_t> top_k;
};

class ModelFolder;

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;
  virtual const std::string& path() const = 0;
  virtual const char* format() const = 0;  // "gguf", "safetensors": how error messages begin
  virtual Config config() const = 0;       // throws UnsupportedModel, BadFile
  virtual std::shared_ptr<const ModelFolder> folder() const { return nullptr; }  // null: a GGUF file
  // nullptr if absent. Shapes outermost first: a linear weight is (out, in).
  virtual const formats::TensorInfo* tensor(std::string_view name) const = 0;
  virtual std::vector<std::string_view> names() const = 0;  // of all tensors that are part of a text model
  virtual const std::vector<std::shared_ptr<const MappedFile>>& files() const = 0;
  virtual GenerationDefaults generation() const { return {}; }
  virtual std::optional<std::string> chat_template() const { return std::nullopt; }  // in Jinja
  virtual bool norms_lack_one() const { return false; }  // Gemma 3's norms are stored as w, used as 1 + w
  virtual std::optional<int64_t> file_type() const {
    return std::nullopt;
  }  // GGUF's number for the kind of quantisation
};

// Throws UnsupportedModel (architecture), BadFile.
std::shared_ptr<const Checkpoint> checkpoint_of(std::shared_ptr<const formats::Gguf> file);
// A Hugging Face folder: config.json and safetensors, one file or sharded, read in place. Throws ModelNotFound too.
std::shared_ptr<const Checkpoint> checkpoint_of_folder(const std::string& path);

}  // namespace gemlet::model
