// Where the weights of the part that hears lie: a GGUF file beside the model ("mmproj"), or the model's own folder. Tensors
// are handed out under the GGUF file's names.
#pragma once

#include <memory>
#include <string>

#include "model/audio_config.h"
#include "model/tower_file.h"

namespace gemlet::model {

class ModelFolder;

class AudioFile : public TowerFile {
 public:
  virtual const AudioConfig& config() const = 0;  // `out`, `middle`, `maps` and `taps` are the tensors' to say
  virtual bool scales_are_softplus()
      const = 0;  // of queries: stored as they are used, or softplus is still to be taken
};

// Of a GGUF projector; null if it has no part that hears. Throws ModelNotFound, BadFile, UnsupportedModel (no projector of
// a kind that gemlet knows).
std::shared_ptr<const AudioFile> open_audio(const std::string& path);
// Of a Hugging Face folder; null if its model does not hear. Throws BadFile, UnsupportedModel.
std::shared_ptr<const AudioFile> audio_of_folder(std::shared_ptr<const ModelFolder> folder);

}  // namespace gemlet::model
