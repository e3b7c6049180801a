// A Hugging Face folder of WhisperForConditionalGeneration: config.json and safetensors.
#include <filesystem>
#include <system_error>
#include <utility>

#include "core/error.h"
#include "model/json_keys.h"
#include "model/model_folder.h"
#include "model/whisper_file.h"

namespace gemlet::model {
namespace {

namespace fs = std::filesystem;

WhisperConfig config_of(const JsonKeys& keys) {
  constexpr int64_t kMostTokens = 1 << 20;
  const std::string type = keys.text("model_type", "");
  if (type != "whisper")
    throw UnsupportedModel(cat(keys.where(), ": model_type: expected 'whisper', got '", type, "'"));
  WhisperConfig c;
  c.mels = keys.integer("num_mel_bins", 1, 512, 80);
  c.width = keys.integer("d_model", 8, kMostWidth);
  c.encoder_layers = keys.integer("encoder_layers", 1, kMostLayers);
  c.encoder_heads = keys.integer("encoder_attention_heads", 1, kMostHeads);
  c.encoder_ffn = keys.integer("encoder_ffn_dim", 1, kMostWidth);
  c.decoder_layers = keys.integer("decoder_layers", 1, kMostLayers);
  c.decoder_heads = keys.integer("decoder_attention_heads", 1, kMostHeads);
  c.decoder_ffn = keys.integer("decoder_ffn_dim", 1, kMostWidth);
  c.vocabulary = keys.integer("vocab_size", 2, kMostTokens);
  c.places = keys.integer("max_source_positions", 1, 1500, 1500);
  c.positions = keys.integer("max_target_positions", 2, 1 << 16, 448);
  const std::string activation = keys.text("activation_function", "gelu");
  if (activation != "gelu") keys.unsupported("activation_function", "'gelu'", *keys.find("activation_function"));
  keys.expect_off("scale_embedding", "false");
  return c;
}

class Folder final : public WhisperFile {
 public:
  Folder(std::unique_ptr<const ModelFolder> folder, const WhisperConfig& config)
      : folder_(std::move(folder)), config_(config) {}
  const std::string& path() const override { return folder_->path(); }
  const char* format() const override { return "safetensors"; }
  const WhisperConfig& config() const override { return config_; }
  const char* weight_type() const override {
    const formats::TensorInfo* found = find("decoder.embed_tokens.weight");
    return found == nullptr ? "" : codec::info(found->type).name;
  }
  WhisperTensor tensor(const std::string& name) const override {
    const formats::TensorInfo* found = find(name);
    if (found == nullptr) return {};
    WhisperTensor t;
    t.shape = found->shape, t.data = found->data;
    switch (found->type) {
      case codec::Type::F32:
        t.type = WhisperTensor::Type::F32;
        break;
      case codec::Type::F16:
        t.type = WhisperTensor::Type::F16;
        break;
      case codec::Type::BF16:
        t.type = WhisperTensor::Type::BF16;
        break;
      default:
        throw UnsupportedModel(cat(format(), ": '", path(), "': tensor '", name, "': expected F32, F16 or BF16, got ",
                                   codec::info(found->type).name));
    }
    return t;
  }
  std::vector<std::shared_ptr<const MappedFile>> files() const override { return folder_->weights().files(); }

 private:
  const formats::TensorInfo* find(const std::string& name) const {
    const formats::TensorInfo* found = folder_->weights().tensor("model." + name);
    return found != nullptr ? found : folder_->weights().tensor(name);
  }
  std::unique_ptr<const ModelFolder> folder_;
  WhisperConfig config_;
};

}  // namespace

std::shared_ptr<const WhisperFile> whisper_of_folder(const std::string& folder) {
  auto opened = std::make_unique<const ModelFolder>(folder);
  const WhisperConfig config = config_of(JsonKeys(opened->config(), opened->where()));
  return std::make_shared<Folder>(std::move(opened), config);
}

std::shared_ptr<const WhisperFile> open_whisper(const std::string& folder) {
  std::error_code failed;
  const fs::path at(folder);
  if (!fs::is_directory(at, failed))
    throw ModelNotFound(cat("whisper: '", folder, "': expected a folder of a Whisper model, ",
                            fs::exists(at, failed) ? "got a file" : "and there is none"));
  if (fs::exists(at / "model.bin", failed)) return whisper_of_ctranslate2(folder);
  if (fs::exists(at / "config.json", failed)) return whisper_of_folder(folder);
  throw ModelNotFound(cat("whisper: '", folder,
                          "': expected 'model.bin' (CTranslate2), or 'config.json' and safetensors ",
                          "(Hugging Face), got neither; is this the folder of a Whisper model?"));
}

}  // namespace gemlet::model
