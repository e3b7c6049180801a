// What folders share whose models see or hear: their part of config.json, and safetensors under the names that GGUF gives
// them. Which names and sizes those are is the tower's own.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/json_keys.h"
#include "model/model_folder.h"

namespace gemlet::model {

// Hugging Face's, GGUF's. A name that ends with a dot stands for what begins with it.
using TowerNames = std::pair<std::string_view, std::string_view>;

struct TowerTables {
  std::span<const TowerNames> model, layer;
  std::string_view layers;  // what stands before a layer's number in a folder: "audio_tower.layers."
  std::string_view blocks;  // and in GGUF: "a.blk."
};

// "a.blk.0.attn_q.weight" for "model.audio_tower.layers.0.self_attn.q_proj.linear.weight". Empty: none of the tower's.
std::string tower_name(std::string_view name, const TowerTables& tables);

// The tower's tensors of a folder.
class TowerFolder {
 public:
  TowerFolder(std::shared_ptr<const ModelFolder> folder, const TowerTables& tables);
  const std::string& path() const { return folder_->path(); }
  const formats::TensorInfo* tensor(std::string_view name) const;
  const std::vector<std::shared_ptr<const MappedFile>>& files() const { return folder_->weights().files(); }
  bool empty() const { return tensors_.empty(); }

 private:
  std::shared_ptr<const ModelFolder> folder_;
  std::unordered_map<std::string, formats::TensorInfo> tensors_;
};

// The member `part` of the folder's config.json; nothing if there is none.
std::optional<JsonKeys> config_part(const ModelFolder& folder, const char* part);

}  // namespace gemlet::model
