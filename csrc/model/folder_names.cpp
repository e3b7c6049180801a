// One table for a model's tensors and one for a layer's; both names of a row mean the same tensor in the same shape.
#include "model/folder_names.h"

#include <algorithm>
#include <array>
#include <utility>

#include "core/error.h"

namespace gemlet::model {
namespace {

using Names = std::pair<std::string_view, std::string_view>;  // Hugging Face's, GGUF's

constexpr std::array<Names, 5> kModel = {{
    {"embed_tokens.weight", "token_embd.weight"},
    {"norm.weight", "output_norm.weight"},
    {"embed_tokens_per_layer.weight", "per_layer_token_embd.weight"},
    {"per_layer_model_projection.weight", "per_layer_model_proj.weight"},
    {"per_layer_projection_norm.weight", "per_layer_proj_norm.weight"},
}};

constexpr std::array<Names, 25> kLayer = {{
    {"input_layernorm.weight", "attn_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
    {"layer_scalar", "layer_output_scale.weight"},
    {"per_layer_input_gate.weight", "inp_gate.weight"},
    {"per_layer_projection.weight", "proj.weight"},
    {"post_per_layer_input_norm.weight", "post_norm.weight"},
    {"router.proj.weight", "ffn_gate_inp.weight"},
    {"router.scale", "ffn_gate_inp.scale"},
    {"router.per_expert_scale", "ffn_down_exps.scale"},
    {"experts.gate_up_proj", "ffn_gate_up_exps.weight"},
    {"experts.down_proj", "ffn_down_exps.weight"},
    {"pre_feedforward_layernorm_2.weight", "pre_ffw_norm_2.weight"},
    {"post_feedforward_layernorm_1.weight", "post_ffw_norm_1.weight"},
    {"post_feedforward_layernorm_2.weight", "post_ffw_norm_2.weight"},
}};

constexpr std::array<Names, 4> kDrafter = {{
    {"pre_projection.weight", "nextn.pre_projection.weight"},
    {"post_projection.weight", "nextn.post_projection.weight"},
    {"masked_embedding.centroids.weight", "mtp.centroids.weight"},
    {"masked_embedding.token_ordering", "mtp.token_ordering.weight"},
}};

bool begins_with(std::string_view text, std::string_view start) { return text.substr(0, start.size()) == start; }

template <size_t N>
std::string_view look_up(const std::array<Names, N>& table, std::string_view name) {
  for (const Names& row : table)
    if (row.first == name) return row.second;
  return {};
}

}  // namespace

std::optional<std::string_view> text_prefix(const std::vector<formats::TensorInfo>& tensors) {
  // The longer ones first: a folder may have several tables of that name for its media parts.
  for (const std::string_view prefix : {"model.language_model.", "language_model.model.", "model.", ""}) {
    const std::string wanted = cat(prefix, "embed_tokens.weight");
    const auto is_it = [&](const formats::TensorInfo& tensor) { return tensor.name == wanted; };
    if (std::any_of(tensors.begin(), tensors.end(), is_it)) return prefix;
  }
  return std::nullopt;
}

std::string gguf_name(std::string_view name, std::string_view prefix) {
  if (!begins_with(name, prefix)) return {};
  name.remove_prefix(prefix.size());
  constexpr std::string_view kLayers = "layers.";
  if (!begins_with(name, kLayers)) return std::string(look_up(kModel, name));
  name.remove_prefix(kLayers.size());
  const size_t dot = std::min(name.find('.'), name.size());
  const std::string_view number = name.substr(0, dot);
  const bool plain = !number.empty() && number.size() <= 4 &&
                     number.find_first_not_of("0123456789") == std::string_view::npos &&
                     (number == "0" || number.front() != '0');
  const std::string_view rest = plain && dot < name.size() ? name.substr(dot + 1) : std::string_view();
  const std::string_view known = look_up(kLayer, rest);
  return known.empty() ? std::string() : cat("blk.", number, ".", known);
}

std::string drafter_name(std::string_view name) { return std::string(look_up(kDrafter, name)); }

bool is_media_name(std::string_view name) {
  if (begins_with(name, "model.")) name.remove_prefix(6);
  for (const std::string_view part :
       {"vision_tower.", "audio_tower.", "vision_embedder.", "embed_vision.", "embed_audio.", "multi_modal_projector."})
    if (begins_with(name, part)) return true;
  return false;
}

bool is_head_name(std::string_view name) {
  return name == "lm_head.weight" || name == "language_model.lm_head.weight" || name == "model.lm_head.weight";
}

}  // namespace gemlet::model
