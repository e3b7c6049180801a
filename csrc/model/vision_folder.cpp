// A Hugging Face folder whose model sees: `vision_config` of its config.json, and tensors under the GGUF names.
#include <array>
#include <filesystem>
#include <system_error>
#include <unordered_map>
#include <utility>

#include "core/error.h"
#include "formats/safetensors.h"
#include "model/json_keys.h"
#include "model/vision_file.h"

namespace gemlet::model {
namespace {

namespace fs = std::filesystem;
using formats::JsonValue;
using formats::TensorInfo;
using Names = std::pair<std::string_view, std::string_view>;  // Hugging Face's, GGUF's

constexpr std::array<Names, 16> kModel = {{
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

constexpr std::array<Names, 13> kLayer = {{
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

// "v.blk.0.attn_q.weight" for "model.vision_tower.encoder.layers.0.self_attn.q_proj.linear.weight". Empty: none of ours.
std::string vision_name(std::string_view name) {
  if (begins_with(name, "model.")) name.remove_prefix(6);
  constexpr std::string_view kLayers = "vision_tower.encoder.layers.";
  if (!begins_with(name, kLayers)) return look_up(kModel, name);
  name.remove_prefix(kLayers.size());
  const size_t dot = name.find('.');
  if (dot == std::string_view::npos) return {};
  const std::string number(name.substr(0, dot));
  std::string rest(name.substr(dot + 1));
  // A matrix with bounds is a module of its own within.
  if (const size_t inner = rest.find(".linear."); inner != std::string::npos) rest.erase(inner, 7);
  const std::string known = look_up(kLayer, rest);
  return known.empty() ? known : cat("v.blk.", number, ".", known);
}

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
  VisionFolder(std::string path, const VisionConfig& config)
      : path_(std::move(path)), config_(config), weights_(formats::Safetensors::open(path_)) {
    for (const TensorInfo& tensor : weights_.tensors()) {
      std::string name = vision_name(tensor.name);
      if (!name.empty()) tensors_.emplace(std::move(name), tensor);
    }
  }
  const std::string& path() const override { return path_; }
  const char* format() const override { return "safetensors"; }
  const VisionConfig& config() const override { return config_; }
  const TensorInfo* tensor(std::string_view name) const override {
    const auto found = tensors_.find(std::string(name));
    return found == tensors_.end() ? nullptr : &found->second;
  }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return weights_.files(); }
  bool planar() const override { return false; }
  bool axes_first() const override { return config_.encoder; }
  bool any() const { return !tensors_.empty(); }

 private:
  std::string path_;
  VisionConfig config_;
  formats::Safetensors weights_;
  std::unordered_map<std::string, TensorInfo> tensors_;
};

}  // namespace

std::shared_ptr<const VisionFile> vision_of_folder(const std::string& path) {
  const fs::path sizes = fs::path(path) / "config.json";
  std::error_code failed;
  if (!fs::exists(sizes, failed)) return nullptr;
  const std::string where = cat("config: '", sizes.string(), "'");
  const auto file = MappedFile::open(sizes.string());
  const JsonValue json = JsonValue::parse({reinterpret_cast<const char*>(file->data()), file->size()}, where, "file");
  const JsonValue* part = json.find("vision_config");
  if (part == nullptr || part->is_null()) return nullptr;
  const JsonKeys keys(*part, cat(where, ": vision_config"));
  const std::string type = keys.text("model_type", "gemma4_vision");
  if (type != "gemma4_vision" && type != "gemma4_unified_vision") return nullptr;
  auto found = std::make_shared<VisionFolder>(path, type == "gemma4_vision" ? encoder(keys) : embedder(keys));
  return found->any() ? found : nullptr;  // a text model that kept its old configuration
}

}  // namespace gemlet::model
