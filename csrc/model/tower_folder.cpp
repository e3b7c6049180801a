// Names by table, tensors by name; see tower_folder.h.
#include "model/tower_folder.h"

#include <utility>

#include "core/error.h"

namespace gemlet::model {
namespace {

bool begins_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

std::string look_up(std::span<const TowerNames> table, std::string_view name) {
  for (const TowerNames& row : table) {
    if (row.first.back() != '.' && row.first == name) return std::string(row.second);
    if (row.first.back() == '.' && begins_with(name, row.first)) return cat(row.second, name.substr(row.first.size()));
  }
  return {};
}

}  // namespace

std::string tower_name(std::string_view name, const TowerTables& tables) {
  if (begins_with(name, "model.")) name.remove_prefix(6);
  if (!begins_with(name, tables.layers)) return look_up(tables.model, name);
  name.remove_prefix(tables.layers.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return {};
  const std::string number(name.substr(0, dot));
  std::string rest(name.substr(dot + 1));
  // A matrix with bounds is a module of its own within.
  if (const size_t inner = rest.find(".linear."); inner != std::string::npos) rest.erase(inner, 7);
  const std::string known = look_up(tables.layer, rest);
  return known.empty() ? known : cat(tables.blocks, number, ".", known);
}

TowerFolder::TowerFolder(std::shared_ptr<const ModelFolder> folder, const TowerTables& tables)
    : folder_(std::move(folder)) {
  for (const formats::TensorInfo& tensor : folder_->weights().tensors()) {
    std::string name = tower_name(tensor.name, tables);
    if (!name.empty()) tensors_.emplace(std::move(name), tensor);
  }
}

const formats::TensorInfo* TowerFolder::tensor(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  return found == tensors_.end() ? nullptr : &found->second;
}

std::optional<JsonKeys> config_part(const ModelFolder& folder, const char* part) {
  const formats::JsonValue* found = folder.config().find(part);
  if (found == nullptr || found->is_null()) return std::nullopt;
  return JsonKeys(*found, cat(folder.where(), ": ", part));
}

}  // namespace gemlet::model
