// A Hugging Face folder whose model hears: `audio_config` of its config.json, and tensors under the GGUF names.
#include <array>
#include <filesystem>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "formats/safetensors.h"
#include "model/audio_file.h"
#include "model/gguf_keys.h"
#include "model/json_keys.h"

namespace gemlet::model {
namespace {

namespace fs = std::filesystem;
using formats::JsonValue;
using formats::TensorInfo;
using Names = std::pair<std::string_view, std::string_view>;  // Hugging Face's, GGUF's

constexpr std::array<Names, 8> kModel = {{
    {"audio_tower.subsample_conv_projection.layer0.conv.", "a.conv1d.0."},
    {"audio_tower.subsample_conv_projection.layer0.norm.", "a.conv1d.0.norm."},
    {"audio_tower.subsample_conv_projection.layer1.conv.", "a.conv1d.1."},
    {"audio_tower.subsample_conv_projection.layer1.norm.", "a.conv1d.1.norm."},
    {"audio_tower.subsample_conv_projection.input_proj_linear.", "a.input_projection."},
    {"audio_tower.output_proj.", "a.pre_encode.out."},
    {"embed_audio.embedding_projection.", "mm.a.input_projection."},
    {"embed_audio.multimodal_embedder.embedding_projection.", "mm.a.input_projection."},
}};

constexpr std::array<Names, 22> kLayer = {{
    {"feed_forward1.pre_layer_norm.", "ffn_norm."},
    {"feed_forward1.ffw_layer_1.", "ffn_up."},
    {"feed_forward1.ffw_layer_2.", "ffn_down."},
    {"feed_forward1.post_layer_norm.", "ffn_post_norm."},
    {"feed_forward2.pre_layer_norm.", "ffn_norm_1."},
    {"feed_forward2.ffw_layer_1.", "ffn_up_1."},
    {"feed_forward2.ffw_layer_2.", "ffn_down_1."},
    {"feed_forward2.post_layer_norm.", "ffn_post_norm_1."},
    {"norm_pre_attn.", "attn_pre_norm."},
    {"norm_post_attn.", "attn_post_norm."},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.post.", "attn_out."},
    {"self_attn.relative_k_proj.", "attn_k_rel."},
    {"lconv1d.pre_layer_norm.", "conv_norm."},  // the file format has these two the other way round
    {"lconv1d.conv_norm.", "norm_conv."},
    {"lconv1d.linear_start.", "conv_pw1."},
    {"lconv1d.depthwise_conv1d.", "conv_dw."},
    {"lconv1d.linear_end.", "conv_pw2."},
    {"norm_out.", "ln2."},
    {"self_attn.per_dim_scale", "per_dim_scale.weight"},
}};

bool begins_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

// A name that ends with a dot stands for what begins with it.
template <size_t N>
std::string look_up(const std::array<Names, N>& table, std::string_view name) {
  for (const Names& row : table) {
    if (row.first.back() != '.' && row.first == name) return std::string(row.second);
    if (row.first.back() == '.' && begins_with(name, row.first)) return cat(row.second, name.substr(row.first.size()));
  }
  return {};
}

// "a.blk.0.attn_q.weight" for "model.audio_tower.layers.0.self_attn.q_proj.linear.weight". Empty: none of ours.
std::string audio_name(std::string_view name) {
  if (begins_with(name, "model.")) name.remove_prefix(6);
  constexpr std::string_view kLayers = "audio_tower.layers.";
  if (!begins_with(name, kLayers)) return look_up(kModel, name);
  name.remove_prefix(kLayers.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return {};
  const std::string number(name.substr(0, dot));
  std::string rest(name.substr(dot + 1));
  // A matrix with bounds is a module of its own within.
  if (const size_t inner = rest.find(".linear."); inner != std::string::npos) rest.erase(inner, 7);
  const std::string known = look_up(kLayer, rest);
  return known.empty() ? known : cat("a.blk.", number, ".", known);
}

AudioConfig encoder(const JsonKeys& keys) {
  AudioConfig c;
  c.width = keys.integer("hidden_size", 2, kMostWidth, 1024);
  c.layers = keys.integer("num_hidden_layers", 1, kMostLayers, 12);
  c.heads = keys.integer("num_attention_heads", 1, kMostHeads, 8);
  c.ffn = 4 * c.width;
  c.eps = static_cast<float>(keys.positive("rms_norm_eps", 1e-6));
  c.cap = static_cast<float>(keys.positive("attention_logit_cap", 50));
  c.residual = static_cast<float>(keys.positive("residual_weight", 0.5));
  c.limit = static_cast<float>(keys.positive("gradient_clipping", 1e10));
  c.clipped = keys.find("use_clipped_linears") == nullptr || keys.flag("use_clipped_linears");
  const int64_t left = keys.integer("attention_context_left", 2, 1024, 13);
  c.window = left - 1;
  if (keys.integer("attention_context_right", 0, 1024, 0) != 0)
    keys.unsupported("attention_context_right", "0, nothing of the future", *keys.find("attention_context_right"));
  if (keys.integer("attention_chunk_size", 1, 1024, 12) != left - 1)  // else relative positions would be shifted
    keys.unsupported("attention_chunk_size", cat(left - 1, ", one less than attention_context_left"),
                     *keys.find("attention_chunk_size"));
  if (keys.text("hidden_act", "silu") != "silu") keys.unsupported("hidden_act", "'silu'", *keys.find("hidden_act"));
  if (c.width % c.heads != 0 || c.width % 2 != 0)
    throw BadFile(cat(keys.where(), ": hidden_size: expected an even multiple of ", c.heads, " heads, got ", c.width));
  return c;
}

AudioConfig projection(const JsonKeys& keys) {
  AudioConfig c;
  c.encoder = false;
  c.frame = keys.integer("audio_embed_dim", 1, kMostWidth, 640);
  c.eps = static_cast<float>(keys.positive("rms_norm_eps", 1e-6));
  return c;
}

class AudioFolder final : public AudioFile {
 public:
  AudioFolder(std::string path, const AudioConfig& config)
      : path_(std::move(path)), config_(config), weights_(formats::Safetensors::open(path_)) {
    for (const TensorInfo& tensor : weights_.tensors()) {
      std::string name = audio_name(tensor.name);
      if (!name.empty()) tensors_.emplace(std::move(name), tensor);
    }
  }
  const std::string& path() const override { return path_; }
  const char* format() const override { return "safetensors"; }
  const AudioConfig& config() const override { return config_; }
  const TensorInfo* tensor(std::string_view name) const override {
    const auto found = tensors_.find(std::string(name));
    return found == tensors_.end() ? nullptr : &found->second;
  }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return weights_.files(); }
  bool scales_are_softplus() const override { return false; }
  bool any() const { return !tensors_.empty(); }

 private:
  std::string path_;
  AudioConfig config_;
  formats::Safetensors weights_;
  std::unordered_map<std::string, TensorInfo> tensors_;
};

}  // namespace

std::shared_ptr<const AudioFile> audio_of_folder(const std::string& path) {
  const fs::path sizes = fs::path(path) / "config.json";
  std::error_code failed;
  if (!fs::exists(sizes, failed)) return nullptr;
  const std::string where = cat("config: '", sizes.string(), "'");
  const auto file = MappedFile::open(sizes.string());
  const JsonValue json = JsonValue::parse({reinterpret_cast<const char*>(file->data()), file->size()}, where, "file");
  const JsonValue* part = json.find("audio_config");
  if (part == nullptr || part->is_null()) return nullptr;
  const JsonKeys keys(*part, cat(where, ": audio_config"));
  const std::string type = keys.text("model_type", "gemma4_audio");
  if (type != "gemma4_audio" && type != "gemma4_unified_audio") return nullptr;
  auto found = std::make_shared<AudioFolder>(path, type == "gemma4_audio" ? encoder(keys) : projection(keys));
  return found->any() ? found : nullptr;  // a text model that kept its old configuration
}

}  // namespace gemlet::model
