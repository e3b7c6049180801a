// A Hugging Face folder whose model hears: `audio_config` of its config.json, and tensors under the GGUF names.
#include <array>
#include <utility>

#include "core/error.h"
#include "model/audio_file.h"
#include "model/gguf_keys.h"
#include "model/tower_folder.h"

namespace gemlet::model {
namespace {

using formats::JsonValue;
using formats::TensorInfo;

constexpr std::array<TowerNames, 8> kModel = {{
    {"audio_tower.subsample_conv_projection.layer0.conv.", "a.conv1d.0."},
    {"audio_tower.subsample_conv_projection.layer0.norm.", "a.conv1d.0.norm."},
    {"audio_tower.subsample_conv_projection.layer1.conv.", "a.conv1d.1."},
    {"audio_tower.subsample_conv_projection.layer1.norm.", "a.conv1d.1.norm."},
    {"audio_tower.subsample_conv_projection.input_proj_linear.", "a.input_projection."},
    {"audio_tower.output_proj.", "a.pre_encode.out."},
    {"embed_audio.embedding_projection.", "mm.a.input_projection."},
    {"embed_audio.multimodal_embedder.embedding_projection.", "mm.a.input_projection."},
}};

constexpr std::array<TowerNames, 22> kLayer = {{
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

constexpr TowerTables kTables = {kModel, kLayer, "audio_tower.layers.", "a.blk."};

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
  AudioFolder(std::shared_ptr<const ModelFolder> folder, const AudioConfig& config)
      : folder_(std::move(folder), kTables), config_(config) {}
  const std::string& path() const override { return folder_.path(); }
  const char* format() const override { return "safetensors"; }
  const AudioConfig& config() const override { return config_; }
  const TensorInfo* tensor(std::string_view name) const override { return folder_.tensor(name); }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return folder_.files(); }
  bool scales_are_softplus() const override { return false; }
  bool any() const { return !folder_.empty(); }

 private:
  TowerFolder folder_;
  AudioConfig config_;
};

}  // namespace

std::shared_ptr<const AudioFile> audio_of_folder(std::shared_ptr<const ModelFolder> folder) {
  const auto keys = config_part(*folder, "audio_config");
  if (!keys) return nullptr;
  const std::string type = keys->text("model_type", "gemma4_audio");
  if (type != "gemma4_audio" && type != "gemma4_unified_audio") return nullptr;
  const AudioConfig config = type == "gemma4_audio" ? encoder(*keys) : projection(*keys);
  auto found = std::make_shared<AudioFolder>(std::move(folder), config);
  return found->any() ? found : nullptr;  // a text model may keep its old configuration
}

}  // namespace gemlet::model
