// Files by name; see model_folder.h.
#include "model/model_folder.h"

#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "core/file.h"

namespace gemlet::model {

namespace fs = std::filesystem;

ModelFolder::ModelFolder(std::string path) : path_(std::move(path)), config_(json(kConfig)) {}

const formats::Safetensors& ModelFolder::weights() const {
  if (!weights_) weights_.emplace(formats::Safetensors::open(path_));
  return *weights_;
}

std::string ModelFolder::where(const char* file) const {
  return cat("config: '", (fs::path(path_) / file).string(), "'");
}

bool ModelFolder::has(const char* file) const {
  std::error_code failed;
  return fs::exists(fs::path(path_) / file, failed);
}

std::string ModelFolder::text(const char* file) const {
  const auto mapped = MappedFile::open((fs::path(path_) / file).string());
  return {reinterpret_cast<const char*>(mapped->data()), mapped->size()};
}

formats::JsonValue ModelFolder::json(const char* file) const {
  return has(file) ? formats::JsonValue::parse(text(file), where(file), "file") : formats::JsonValue();
}

}  // namespace gemlet::model
