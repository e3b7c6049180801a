// What files of a part that sees and of one that hears have in common: tensors under the names of a GGUF projector.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/file.h"
#include "formats/tensor_info.h"

namespace gemlet::model {

class TowerFile {
 public:
  virtual ~TowerFile() = default;
  virtual const std::string& path() const = 0;
  virtual const char* format() const = 0;                                      // "gguf", "safetensors"
  virtual const formats::TensorInfo* tensor(std::string_view name) const = 0;  // nullptr if absent
  virtual const std::vector<std::shared_ptr<const MappedFile>>& files() const = 0;
};

}  // namespace gemlet::model
