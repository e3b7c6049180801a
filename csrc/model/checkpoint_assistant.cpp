// GGUF files of Gemma 4's drafters: `gemma4-assistant` as llama.cpp writes them, `gemma4_mtp` as ik_llama.cpp does, under
// one set of names. What a drafter shares with its target (key heads, rotation, window) is left to be filled in from there.
#include "model/checkpoint_assistant.h"

#include <filesystem>
#include <string>
#include <system_error>
#include <unordered_map>

#include "core/error.h"
#include "model/gguf_keys.h"

namespace gemlet::model {
namespace {

using formats::Gguf;

// The names the weights are read by, and what else they are called.
constexpr const char* kOtherNames[][2] = {
    {"mtp_pre_proj.weight", "nextn.pre_projection.weight"},
    {"mtp_post_proj.weight", "nextn.post_projection.weight"},
    {"mtp.pre_projection.weight", "nextn.pre_projection.weight"},
    {"mtp.post_projection.weight", "nextn.post_projection.weight"},
    {"mtp_centroids.weight", "mtp.centroids.weight"},
    {"mtp_token_ordering.weight", "mtp.token_ordering.weight"},
};

std::string_view usual(std::string_view name) {
  for (const auto& [other, own] : kOtherNames)
    if (name == other) return own;
  return name;
}

class GgufAssistant final : public Checkpoint {
 public:
  explicit GgufAssistant(std::shared_ptr<const Gguf> file) : file_(std::move(file)) {
    for (const formats::TensorInfo& t : file_->tensors()) {
      names_.push_back(usual(t.name));
      tensors_.emplace(names_.back(), &t);
    }
  }
  const std::string& path() const override { return file_->path(); }
  const char* format() const override { return "gguf"; }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return file_->files(); }
  std::vector<std::string_view> names() const override { return names_; }
  const formats::TensorInfo* tensor(std::string_view name) const override {
    const auto found = tensors_.find(name);
    return found == tensors_.end() ? nullptr : found->second;
  }
  std::optional<int64_t> file_type() const override {
    const formats::Value* value = file_->find("general.file_type");
    return value != nullptr ? value->as_int() : std::nullopt;
  }

  Config config() const override {
    const GgufKeys keys(*file_, std::string(file_->require_string("general.architecture")) + ".");
    Config c;
    c.architecture = "gemma4_assistant";
    if (const formats::Value* name = file_->find("general.name"); name != nullptr && name->as_string())
      c.name = std::string(*name->as_string());
    c.width = keys.integer("embedding_length", 1, kMostWidth);
    c.eps = static_cast<float>(keys.positive_or("attention.layer_norm_rms_epsilon", 1e-6));
    c.vocabulary = matrix("token_embd.weight").shape[0];
    const char* backbone = keys.has("embedding_length_out") ? "embedding_length_out" : "backbone_embedding_length";
    c.backbone = keys.integer_or(backbone, 1, kMostWidth, matrix("nextn.post_projection.weight").shape[0]);
    if (tensor("mtp.centroids.weight") != nullptr) fill_centroids(keys, c);
    fill_layers(keys, c);
    return c;
  }

 private:
  const formats::TensorInfo& matrix(const char* name) const {
    const formats::TensorInfo* found = tensor(name);
    if (found == nullptr || found->shape.size() != 2)
      throw BadFile(cat("gguf: '", path(), "': tensor '", name,
                        "': expected a matrix, and it is missing or none; the file is incomplete"));
    return *found;
  }

  void fill_centroids(const GgufKeys& keys, Config& c) const {
    c.centroids = matrix("mtp.centroids.weight").shape[0];
    const char* count = keys.has("n_centroids") ? "n_centroids" : "centroid_count";
    if (keys.integer_or(count, 1, kMostWidth, c.centroids) != c.centroids)
      throw BadFile(
          cat(keys.where(), ": key '", count, "' contradicts the ", c.centroids, " rows of 'mtp.centroids.weight'"));
    c.centroids_used = keys.integer_or("centroid_top_k", 1, kMostWidth, 32);
  }

  static void fill_layers(const GgufKeys& keys, Config& c) {
    const auto count = static_cast<size_t>(keys.integer("block_count", 1, kMostLayers));
    const auto heads = keys.by_layer("attention.head_count", count, 1, kMostHeads);
    const auto ffn = keys.by_layer("feed_forward_length", count, 1, kMostWidth);
    const auto sliding = keys.by_layer("attention.sliding_window_pattern", count, 0, 1);
    const int64_t full = keys.integer("attention.key_length", 1, kMostHeads);
    const int64_t near = keys.integer("attention.key_length_swa", 1, kMostHeads);
    for (size_t i = 0; i < count; ++i) {
      LayerConfig& l = c.layers.emplace_back();
      l.sliding = sliding[i] != 0;
      l.heads = heads[i], l.ffn = ffn[i];
      l.channels = l.sliding ? near : full;
    }
  }

  std::shared_ptr<const Gguf> file_;
  std::vector<std::string_view> names_;
  std::unordered_map<std::string_view, const formats::TensorInfo*> tensors_;
};

}  // namespace

bool is_assistant(std::string_view architecture) {
  return architecture == "gemma4-assistant" || architecture == "gemma4_mtp" || architecture == "gemma4_assistant";
}

std::shared_ptr<const Checkpoint> assistant_of(std::shared_ptr<const Gguf> file) {
  return std::make_shared<GgufAssistant>(std::move(file));
}

void expect_model(const Checkpoint& file) {
  if (file.config().backbone == 0) return;
  throw UnsupportedModel(cat(file.format(), ": '", file.path(),
                             "' holds a drafter, which only guesses what another model may say next; load that model, ",
                             "with draft= this path"));
}

std::shared_ptr<const Checkpoint> open_assistant(const std::string& path) {
  std::error_code failed;
  if (std::filesystem::is_directory(path, failed)) return checkpoint_of_folder(path);
  return checkpoint_of(std::make_shared<const Gguf>(Gguf::open(path)));
}

}  // namespace gemlet::model
