// A Hugging Face folder, read once for all who take a part of it: the text model, what sees and what hears. What its
// files mean is theirs to say.
#pragma once

#include <optional>
#include <string>

#include "formats/json_value.h"
#include "formats/safetensors.h"

namespace gemlet::model {

class ModelFolder {
 public:
  // Throws BadFile. A folder without a config.json has an empty one.
  explicit ModelFolder(std::string path);

  const std::string& path() const { return path_; }
  const formats::JsonValue& config() const { return config_; }
  // Opened when first asked for, since what config.json says of another model is the clearer message; then by one thread.
  // Throws ModelNotFound, BadFile, UnsupportedModel.
  const formats::Safetensors& weights() const;

  // Of any of its files, by name. How messages about it begin: "config: 'folder/file'".
  std::string where(const char* file = kConfig) const;
  bool has(const char* file) const;
  std::string text(const char* file) const;         // throws ModelNotFound
  formats::JsonValue json(const char* file) const;  // null if there is no such file

  static constexpr const char* kConfig = "config.json";

 private:
  std::string path_;
  formats::JsonValue config_;
  mutable std::optional<formats::Safetensors> weights_;
};

}  // namespace gemlet::model
