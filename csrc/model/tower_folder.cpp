// Names by table, tensors by name; see tower_folder.h.
#include "model/tower_folder.h"

#include <filesystem>
#include <system_error>

#include "core/error.h"

namespace gemlet::model {
namespace {

namespace fs = std::filesystem;
using formats::JsonValue;

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

TowerFolder::TowerFolder(std::string path, const TowerTables& tables)
    : path_(std::move(path)), weights_(formats::Safetensors::open(path_)) {
  for (const formats::TensorInfo& tensor : weights_.tensors()) {
    std::string name = tower_name(tensor.name, tables);
    if (!name.empty()) tensors_.emplace(std::move(name), tensor);
  }
}

const formats::TensorInfo* TowerFolder::tensor(std::string_view name) const {
  const auto found = tensors_.find(std::string(name));
  return found == tensors_.end() ? nullptr : &found->second;
}

bool read_config_part(const std::string& path, const char* part, const std::function<void(const JsonKeys&)>& read) {
  const fs::path sizes = fs::path(path) / "config.json";
  std::error_code failed;
  if (!fs::exists(sizes, failed)) return false;
  const std::string where = cat("config: '", sizes.string(), "'");
  const auto file = MappedFile::open(sizes.string());
  const JsonValue json = JsonValue::parse({reinterpret_cast<const char*>(file->data()), file->size()}, where, "file");
  const JsonValue* found = json.find(part);
  if (found == nullptr || found->is_null()) return false;
  read(JsonKeys(*found, cat(where, ": ", part)));
  return true;
}

}  // namespace gemlet::model
