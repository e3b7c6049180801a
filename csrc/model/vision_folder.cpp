// A Hugging Face folder whose model sees: `vision_config` of its config.json, and tensors under the GGUF names.
#include <array>
#include <utility>

#include "core/error.h"
#include "model/tower_folder.h"
#include "model/vision_file.h"

namespace gemlet::model {
namespace {

using formats::JsonValue;
using formats::TensorInfo;

constexpr std::array<TowerNames, 16> kModel = {{
    {"vision_tower.patch_embedder.input_proj.weight", "v.patch_embd.weight"},
    {"vision_tower.patch_embedder.position_embedding_table", "v.position_embd.weight"},
    {"vision_tower.std_bias", "v.std_bias"},
    {"vision_tower.std_scale", "v.std_scale"},
    {"embed_vision.embedding_projection.weight", "mm.input_projection.weight"},
    {"embed_vision.multimodal_embedder.embedding_projection.weight", "mm.input_projection.weight"},
    // of the 12B, in released files and as transformers saves it
    {"vision_embedder.patch_ln1.", "v.patch_norm.1."},
    {"vision_embedder.patch_dense.", "v.patch_embd."},
    {"vision_embedder.patch_ln2.", "v.patch_norm.2."},
    {"vision_embedder.pos_norm.", "v.patch_norm.3."},
    {"vision_embedder.pos_embedding", "v.position_embd.weight"},
    {"embed_vision.patch_ln1.", "v.patch_norm.1."},
    {"embed_vision.patch_dense.", "v.patch_embd."},
    {"embed_vision.patch_ln2.", "v.patch_norm.2."},
    {"embed_vision.pos_norm.", "v.patch_norm.3."},
    {"embed_vision.pos_embedding", "v.position_embd.weight"},
}};

constexpr std::array<TowerNames, 13> kLayer = {{
    {"input_layernorm.", "ln1."},
    {"post_attention_layernorm.", "attn_post_norm."},
    {"pre_feedforward_layernorm.", "ln2."},
    {"post_feedforward_layernorm.", "ffn_post_norm."},
    {"self_attn.q_proj.", "attn_q."},
    {"self_attn.k_proj.", "attn_k."},
    {"self_attn.v_proj.", "attn_v."},
    {"self_attn.o_proj.", "attn_out."},
    {"self_attn.q_norm.", "attn_q_norm."},
    {"self_attn.k_norm.", "attn_k_norm."},
    {"mlp.gate_proj.", "ffn_gate."},
    {"mlp.up_proj.", "ffn_up."},
    {"mlp.down_proj.", "ffn_down."},
}};

constexpr TowerTables kTables = {kModel, kLayer, "vision_tower.encoder.layers.", "v.blk."};

VisionConfig encoder(const JsonKeys& keys) {
  VisionConfig c;
  c.width = keys.integer("hidden_size", 1, kMostWidth, 768);
  c.layers = keys.integer("num_hidden_layers", 1, kMostLayers, 16);
  c.heads = keys.integer("num_attention_heads", 1, kMostHeads, 12);
  c.channels = keys.integer("head_dim", 1, kMostHeads, 64);
  c.ffn = keys.integer("intermediate_size", 1, kMostWidth, 3072);
  c.patch = keys.integer("patch_size", 1, 1024, 16);
  c.pool = keys.integer("pooling_kernel_size", 1, 64, 3);
  c.eps = static_cast<float>(keys.positive("rms_norm_eps", 1e-6));
  c.clipped = keys.flag("use_clipped_linears");
  if (keys.integer("num_key_value_heads", 1, kMostHeads, c.heads) != c.heads)
    keys.unsupported("num_key_value_heads", cat(c.heads, ", as many as heads"), *keys.find("num_key_value_heads"));
  keys.expect_off("attention_bias", "no biases");
  if (keys.text("hidden_activation", "gelu_pytorch_tanh") != "gelu_pytorch_tanh")
    keys.unsupported("hidden_activation", "'gelu_pytorch_tanh'", *keys.find("hidden_activation"));
  if (const JsonValue* rope = keys.object("rope_parameters"); rope != nullptr)
    c.rope_base = JsonKeys(*rope, keys.where()).positive("rope_theta", 100);
  return c;
}

VisionConfig embedder(const JsonKeys& keys) {
  VisionConfig c;
  c.encoder = false;
  c.width = keys.integer("mm_embed_dim", 1, kMostWidth, 3840);
  c.patch = keys.integer("patch_size", 1, 1024, 16);
  c.pool = keys.integer("pooling_kernel_size", 1, 64, 3);
  c.eps = static_cast<float>(keys.positive("rms_norm_eps", 1e-6));
  return c;
}

class VisionFolder final : public VisionFile {
 public:
  VisionFolder(std::shared_ptr<const ModelFolder> folder, const VisionConfig& config)
      : folder_(std::move(folder), kTables), config_(config) {}
  const std::string& path() const override { return folder_.path(); }
  const char* format() const override { return "safetensors"; }
  const VisionConfig& config() const override { return config_; }
  const TensorInfo* tensor(std::string_view name) const override { return folder_.tensor(name); }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return folder_.files(); }
  bool planar() const override { return false; }
  bool axes_first() const override { return config_.encoder; }
  bool any() const { return !folder_.empty(); }

 private:
  TowerFolder folder_;
  VisionConfig config_;
};

}  // namespace

std::shared_ptr<const VisionFile> vision_of_folder(std::shared_ptr<const ModelFolder> folder) {
  const auto keys = config_part(*folder, "vision_config");
  if (!keys) return nullptr;
  const std::string type = keys->text("model_type", "gemma4_vision");
  if (type != "gemma4_vision" && type != "gemma4_unified_vision") return nullptr;
  const VisionConfig config = type == "gemma4_vision" ? encoder(*keys) : embedder(*keys);
  auto found = std::make_shared<VisionFolder>(std::move(folder), config);
  return found->any() ? found : nullptr;  // a text model may keep its old configuration
}

}  // namespace gemlet::model
