// A Hugging Face folder as a checkpoint: config.json, generation_config.json, the chat template, and safetensors whose
// tensors are handed out under GGUF's names, where they lie. Tokenizers are the engine's.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "formats/json_value.h"
#include "formats/safetensors.h"
#include "model/checkpoint.h"
#include "model/folder_config.h"
#include "model/folder_names.h"

namespace gemlet::model {
namespace {

namespace fs = std::filesystem;
using formats::JsonKind;
using formats::JsonValue;
using formats::Safetensors;
using formats::TensorInfo;

constexpr const char* kSizes = "config.json";
constexpr const char* kGeneration = "generation_config.json";
constexpr const char* kTokenizer = "tokenizer_config.json";
constexpr const char* kTemplate = "chat_template.jinja";
constexpr const char* kOlderTemplate = "chat_template.json";
constexpr size_t kLongestTemplate = size_t{1} << 22U;

bool is_there(const fs::path& path) {
  std::error_code failed;
  return fs::exists(path, failed);
}

std::string where_of(const fs::path& path) { return cat("config: '", path.string(), "'"); }

std::string text_of(const fs::path& path) {
  const auto file = MappedFile::open(path.string());
  return {reinterpret_cast<const char*>(file->data()), file->size()};
}

// null if there is no such file.
JsonValue json_of(const fs::path& path) {
  if (!is_there(path)) return {};
  return JsonValue::parse(text_of(path), where_of(path), "file");
}

// "google/gemma-4-E2B-it" for a snapshot in the hub's cache, else the folder's own name.
std::string name_of(const fs::path& folder) {
  const fs::path at = folder.lexically_normal();
  const fs::path last = at.has_filename() ? at : at.parent_path();
  const fs::path model = last.parent_path().parent_path();
  std::string name = model.filename().string();
  if (last.parent_path().filename() != "snapshots" || name.rfind("models--", 0) != 0) return last.filename().string();
  name = name.substr(8);
  const size_t slash = name.find("--");
  return slash == std::string::npos ? name : cat(name.substr(0, slash), "/", name.substr(slash + 2));
}

class FolderCheckpoint final : public Checkpoint {
 public:
  FolderCheckpoint(std::string path, JsonValue sizes)
      : path_(std::move(path)),
        where_(where_of(fs::path(path_) / kSizes)),
        sizes_(std::move(sizes)),
        config_(folder_config(sizes_, where_)),  // before the weights: the clearer message for another model
        generation_(json_of(fs::path(path_) / kGeneration)),
        weights_(Safetensors::open(path_)) {
    config_.name = name_of(path_);
    config_.suppress = ids(generation_, kGeneration, "suppress_tokens");
    if (config_.backbone == 0) config_.check(where_of(fs::path(path_) / kGeneration));  // a drafter's are not all here
    take_tensors();
  }

  const std::string& path() const override { return path_; }
  const char* format() const override { return "safetensors"; }
  Config config() const override { return config_; }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return weights_.files(); }
  bool norms_lack_one() const override { return config_.architecture == "gemma3"; }

  const TensorInfo* tensor(std::string_view name) const override {
    const auto found = tensors_.find(std::string(name));
    return found == tensors_.end() ? nullptr : &found->second;
  }

  std::vector<std::string_view> names() const override {
    std::vector<std::string_view> names;
    for (const auto& [name, tensor] : tensors_) names.emplace_back(name);
    std::sort(names.begin(), names.end());
    return names;
  }

  std::optional<int64_t> file_type() const override {
    const TensorInfo* table = tensor("token_embd.weight");
    if (table == nullptr) return std::nullopt;
    if (table->type == codec::Type::F32) return 0;
    return table->type == codec::Type::F16 ? 1 : 32;
  }

  GenerationDefaults generation() const override;
  std::optional<std::string> chat_template() const override;

 private:
  void take_tensors();
  std::vector<int32_t> ids(const JsonValue& json, const char* file, const char* key) const;
  std::optional<double> number(const char* key, double most) const;

  std::string path_, where_;
  JsonValue sizes_;
  Config config_;
  JsonValue generation_;
  Safetensors weights_;
  std::unordered_map<std::string, TensorInfo> tensors_;  // by GGUF's names
};

void FolderCheckpoint::take_tensors() {
  const auto prefix = text_prefix(weights_.tensors());
  if (!prefix)
    throw BadFile(
        cat("safetensors: '", path_, "': expected the tensor 'model.embed_tokens.weight' or ",
            "'model.language_model.embed_tokens.weight', got neither; this is no text model of the Gemma family"));
  const bool tied = ties_head(sizes_);
  for (const TensorInfo& tensor : weights_.tensors()) {
    std::string name = config_.backbone > 0 ? drafter_name(tensor.name) : "";
    if (name.empty()) name = gguf_name(tensor.name, *prefix);
    if (is_head_name(tensor.name)) {
      if (tied) continue;  // a copy of the embedding, or dead
      name = "output.weight";
    }
    if (name.empty() && is_media_name(tensor.name)) continue;
    if (name.empty()) name = tensor.name;  // for the one who asks what there is that nobody needs
    tensors_.emplace(std::move(name), tensor);
  }
  if (!tied && tensors_.count("output.weight") == 0)
    throw BadFile(cat("safetensors: '", path_, "': expected the tensor 'lm_head.weight', since ", kSizes,
                      " says tie_word_embeddings is false, and it is missing; download the model again"));
}

// A number, a list of them, or nothing.
std::vector<int32_t> FolderCheckpoint::ids(const JsonValue& json, const char* file, const char* key) const {
  const JsonValue* value = json.find(key);
  if (value == nullptr || value->is_null()) return {};
  std::vector<int32_t> found;
  const std::vector<JsonValue> one = {*value};
  for (const JsonValue& item : value->kind() == JsonKind::Array ? value->values() : one) {
    const auto id = item.as_int();
    if (!id || *id < 0 || *id >= config_.vocabulary)
      throw BadFile(cat(where_of(fs::path(path_) / file), ": ", key, ": expected token ids from 0 to ",
                        config_.vocabulary - 1, ", got ", value->shown()));
    found.push_back(static_cast<int32_t>(*id));
  }
  return found;
}

std::optional<double> FolderCheckpoint::number(const char* key, double most) const {
  const JsonValue* value = generation_.find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  const auto found = value->as_number();
  if (!found || !std::isfinite(*found) || *found < 0 || *found > most)
    throw BadFile(cat(where_of(fs::path(path_) / kGeneration), ": ", key, ": expected a number from 0 to ", most,
                      ", got ", value->shown()));
  return found;
}

GenerationDefaults FolderCheckpoint::generation() const {
  GenerationDefaults d;
  d.temperature = number("temperature", 1e6);
  d.top_p = number("top_p", 1);
  d.min_p = number("min_p", 1);
  if (const auto k = number("top_k", 1e9)) d.top_k = static_cast<int64_t>(*k);
  const JsonValue* sample = generation_.find("do_sample");
  if (sample != nullptr && sample->as_bool() == false) d.temperature = 0;
  d.end_ids = ids(generation_, kGeneration, "eos_token_id");
  if (!d.end_ids.empty()) return d;
  // The outer list of chat models is the longer one.
  d.end_ids = ids(sizes_, kSizes, "eos_token_id");
  const JsonValue* part = sizes_.find("text_config");
  if (d.end_ids.empty() && part != nullptr) d.end_ids = ids(*part, kSizes, "eos_token_id");
  return d;
}

// A string, or named ones of which 'default' is meant.
std::optional<std::string> template_in(const JsonValue& json) {
  const JsonValue* value = json.find("chat_template");
  if (value == nullptr) return std::nullopt;
  if (value->kind() != JsonKind::Array) return value->as_string();
  for (const JsonValue& item : value->values()) {
    const JsonValue *name = item.find("name"), *text = item.find("template");
    if (name != nullptr && text != nullptr && name->as_string() == "default") return text->as_string();
  }
  return std::nullopt;
}

std::optional<std::string> FolderCheckpoint::chat_template() const {
  const fs::path file = fs::path(path_) / kTemplate;
  if (is_there(file)) {
    std::string text = text_of(file);
    if (text.size() > kLongestTemplate)
      throw BadFile(cat(where_of(file), ": expected at most ", kLongestTemplate, " bytes, got ", text.size()));
    return text;
  }
  auto text = template_in(json_of(fs::path(path_) / kOlderTemplate));
  return text ? text : template_in(json_of(fs::path(path_) / kTokenizer));
}

}  // namespace

std::shared_ptr<const Checkpoint> checkpoint_of_folder(const std::string& path) {
  const fs::path sizes = fs::path(path) / kSizes;
  if (!is_there(sizes))
    throw ModelNotFound(cat("config: '", sizes.string(),
                            "': there is no such file; a folder must be a whole Hugging Face ",
                            "model (config.json, tokenizer.json, safetensors); for a GGUF file give its own path"));
  return std::make_shared<FolderCheckpoint>(path, json_of(sizes));
}

}  // namespace gemlet::model
