// Where the weights of the part that sees lie: a GGUF file of its own beside the model ("mmproj"), or the model's own
// folder. Tensors are handed out under the GGUF file's names.
#pragma once

#include <memory>
#include <string>

#include "model/tower_file.h"
#include "model/vision_config.h"

namespace gemlet::model {

class ModelFolder;

class VisionFile : public TowerFile {
 public:
  virtual const VisionConfig& config() const = 0;  // `out` and `positions` are the tensors' to say
  // Colours of a square: three planes one after the other, or side by side in each pixel.
  virtual bool planar() const = 0;
  // The table of positions: (2, n, d), or (n, 2, d).
  virtual bool axes_first() const = 0;
};

// Null for one that only hears. Throws ModelNotFound, BadFile, UnsupportedModel (no projector of a kind that gemlet knows).
std::shared_ptr<const VisionFile> open_vision(const std::string& path);
// Of a Hugging Face folder; null if its model does not see. Throws BadFile, UnsupportedModel.
std::shared_ptr<const VisionFile> vision_of_folder(std::shared_ptr<const ModelFolder> folder);

}  // namespace gemlet::model
