// A Hugging Face folder as a checkpoint: config.json, generation_config.json, the chat template, and safetensors whose
// tensors are handed out under GGUF's names, where they lie. Tokenizers are the engine's.
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "formats/byte_cursor.h"
#include "model/checkpoint.h"
#include "model/folder_config.h"
#include "model/folder_names.h"
#include "model/model_folder.h"

namespace gemlet::model {
namespace {

namespace fs = std::filesystem;
using formats::JsonKind;
using formats::JsonValue;
using formats::TensorInfo;

constexpr const char* kGeneration = "generation_config.json";
constexpr const char* kTokenizer = "tokenizer_config.json";
constexpr const char* kTemplate = "chat_template.jinja";
constexpr const char* kOlderTemplate = "chat_template.json";
constexpr size_t kLongestTemplate = size_t{1} << 22U;

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
  explicit FolderCheckpoint(std::shared_ptr<const ModelFolder> folder)
      : folder_(std::move(folder)),
        config_(folder_config(folder_->config(), folder_->where())),
        generation_(folder_->json(kGeneration)) {
    config_.name = name_of(path());
    config_.suppress = ids(generation_, kGeneration, "suppress_tokens");
    if (config_.backbone == 0) config_.check(folder_->where(kGeneration));  // a drafter's are not all here
    take_tensors();
  }

  const std::string& path() const override { return folder_->path(); }
  const char* format() const override { return "safetensors"; }
  Config config() const override { return config_; }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return folder_->weights().files(); }
  bool norms_lack_one() const override { return config_.architecture == "gemma3"; }
  std::shared_ptr<const ModelFolder> folder() const override { return folder_; }

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

  std::shared_ptr<const ModelFolder> folder_;
  Config config_;
  JsonValue generation_;
  std::unordered_map<std::string, TensorInfo> tensors_;  // by GGUF's names
};

void FolderCheckpoint::take_tensors() {
  const auto prefix = text_prefix(folder_->weights().tensors());
  if (!prefix)
    throw BadFile(
        cat("safetensors: '", path(), "': expected the tensor 'model.embed_tokens.weight' or ",
            "'model.language_model.embed_tokens.weight', got neither; this is no text model of the Gemma family"));
  const bool tied = ties_head(folder_->config());
  for (const TensorInfo& tensor : folder_->weights().tensors()) {
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
    throw BadFile(cat("safetensors: '", path(), "': expected the tensor 'lm_head.weight', since ", ModelFolder::kConfig,
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
      throw BadFile(cat(folder_->where(file), ": ", key, ": expected token ids from 0 to ", config_.vocabulary - 1,
                        ", got ", value->shown()));
    found.push_back(static_cast<int32_t>(*id));
  }
  return found;
}

std::optional<double> FolderCheckpoint::number(const char* key, double most) const {
  const JsonValue* value = generation_.find(key);
  if (value == nullptr || value->is_null()) return std::nullopt;
  const auto found = value->as_number();
  if (!found || !std::isfinite(*found) || *found < 0 || *found > most)
    throw BadFile(
        cat(folder_->where(kGeneration), ": ", key, ": expected a number from 0 to ", most, ", got ", value->shown()));
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
  d.end_ids = ids(folder_->config(), ModelFolder::kConfig, "eos_token_id");
  const JsonValue* part = folder_->config().find("text_config");
  if (d.end_ids.empty() && part != nullptr) d.end_ids = ids(*part, ModelFolder::kConfig, "eos_token_id");
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
  if (folder_->has(kTemplate)) {
    std::string text = folder_->text(kTemplate);
    if (text.size() > kLongestTemplate)
      throw BadFile(
          cat(folder_->where(kTemplate), ": expected at most ", kLongestTemplate, " bytes, got ", text.size()));
    return text;
  }
  auto text = template_in(folder_->json(kOlderTemplate));
  return text ? text : template_in(folder_->json(kTokenizer));
}

}  // namespace

std::shared_ptr<const Checkpoint> checkpoint_of_folder(const std::string& path) {
  auto folder = std::make_shared<const ModelFolder>(path);
  if (!folder->has(ModelFolder::kConfig))
    throw ModelNotFound(cat(folder->where(), ": there is no such file; a folder must be a whole Hugging Face ",
                            "model (config.json, tokenizer.json, safetensors); for a GGUF file give its own path"));
  return std::make_shared<FolderCheckpoint>(std::move(folder));
}

}  // namespace gemlet::model
