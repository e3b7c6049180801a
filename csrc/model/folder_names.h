// The names of a Hugging Face checkpoint's text tensors in GGUF's words. Knows names only, not shapes.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/tensor_info.h"

namespace gemlet::model {

// What stands before `embed_tokens.weight`: "model.language_model." in one version, "model." in another. Empty if none does.
std::optional<std::string_view> text_prefix(const std::vector<formats::TensorInfo>& tensors);

// "blk.0.attn_q.weight" for "model.layers.0.self_attn.q_proj.weight". Empty for a text tensor without a counterpart.
std::string gguf_name(std::string_view name, std::string_view prefix);

// "nextn.pre_projection.weight" for "pre_projection.weight": what only drafters have. Empty for all others.
std::string drafter_name(std::string_view name);

// Whether a tensor belongs to the part that sees, hears, or joins those to the text.
bool is_media_name(std::string_view name);
// Whether it is the head.
bool is_head_name(std::string_view name);

}  // namespace gemlet::model
