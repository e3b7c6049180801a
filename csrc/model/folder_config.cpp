// Gemma3TextConfig and Gemma4TextConfig of transformers 5, and their older spellings.
#include "model/folder_config.h"

#include <charconv>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/json_keys.h"

namespace gemlet::model {
namespace {

using formats::JsonKind;
using formats::JsonValue;

constexpr const char* kBothWays = "use_bidirectional_attention";
using Keys = JsonKeys;

struct Defaults {  // of a class of transformers
  int64_t layers, context, window, per_layer, vocabulary;
};

Config common(const Keys& keys, const Defaults& otherwise) {
  Config c;
  c.width = keys.integer("hidden_size", 1, kMostWidth, 2304);
  c.context = keys.integer("max_position_embeddings", 1, kMostPositions, otherwise.context);
  c.window = keys.integer("sliding_window", 1, kMostPositions, otherwise.window);
  c.vocabulary = keys.integer("vocab_size", 1, kMostPositions, otherwise.vocabulary);
  c.eps = static_cast<float>(keys.positive("rms_norm_eps", 1e-6));
  c.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(c.width)));
  c.logit_cap = static_cast<float>(keys.positive("final_logit_softcapping", 0));
  keys.expect_off("attention_bias", "no biases");
  const std::string activation = keys.text("hidden_activation", "gelu_pytorch_tanh");
  if (activation != "gelu_pytorch_tanh")
    keys.unsupported("hidden_activation", "'gelu_pytorch_tanh'", *keys.find("hidden_activation"));
  c.layers.resize(static_cast<size_t>(keys.integer("num_hidden_layers", 1, kMostLayers, otherwise.layers)));
  for (LayerConfig& layer : c.layers) {
    layer.heads = keys.integer("num_attention_heads", 1, kMostHeads, 8);
    layer.kv_heads = keys.integer("num_key_value_heads", 1, kMostHeads, 4);
    layer.channels = keys.integer("head_dim", 1, kMostHeads, 256);
    layer.ffn = keys.integer("intermediate_size", 1, kMostWidth, 9216);
  }
  return c;
}

// `pattern`: every so manyth layer is full where the file does not list them.
void fill_kinds(const Keys& keys, int64_t pattern, Config& c) {
  const JsonValue* types = keys.find("layer_types");
  if (types == nullptr) {
    for (size_t i = 0; i < c.layers.size(); ++i) c.layers[i].sliding = (static_cast<int64_t>(i) + 1) % pattern != 0;
    return;
  }
  if (types->kind() != JsonKind::Array || types->values().size() != c.layers.size())
    keys.refuse("layer_types", cat("a list of ", c.layers.size(), ", one a layer"), *types);
  for (size_t i = 0; i < c.layers.size(); ++i) {
    const JsonValue& type = types->values()[i];
    c.layers[i].sliding = type.as_string() == "sliding_attention";
    if (!c.layers[i].sliding && type.as_string() != "full_attention")
      keys.unsupported(cat("layer_types[", i, "]"), "'sliding_attention' or 'full_attention'", type);
  }
}

// The frequencies that one object of rope parameters stands for, and what they are made of.
struct Rope {
  std::vector<float> frequencies;
  double base, factor;
};

Rope rope_of(const Keys& rope, double theta, int64_t channels) {
  const char* name = rope.find("rope_type") == nullptr ? "type" : "rope_type";
  const std::string type = rope.text(name, "default");
  const double base = rope.positive("rope_theta", theta), factor = rope.positive("factor", 1.0);
  const double part = rope.positive("partial_rotary_factor", 1.0);
  if (part > 1) rope.refuse("partial_rotary_factor", "at most 1", *rope.find("partial_rotary_factor"));
  if (type != "default" && type != "linear" && type != "proportional")
    rope.unsupported(name, "'default', 'linear' or 'proportional'", *rope.find(name));
  if (type != "proportional" && part < 1)
    rope.unsupported("partial_rotary_factor", cat("1 for rotary positions of type '", type, "'"),
                     *rope.find("partial_rotary_factor"));
  if (type == "linear" && rope.find("factor") == nullptr)
    throw BadFile(cat(rope.where(), ": factor: expected a positive number, and it is missing"));
  const auto turning = static_cast<int64_t>(std::floor(part * static_cast<double>(channels) / 2));
  const double divisor = type == "default" ? 1.0 : factor;
  return {rope_frequencies(base, channels, divisor, turning), base, divisor};
}

// The channels of the first layer of a kind; layers of one kind that differ are refused by Config::check.
int64_t channels_of(const Config& c, bool sliding) {
  for (const LayerConfig& layer : c.layers)
    if (layer.sliding == sliding) return layer.channels;
  return 2;
}

// --- Gemma 3 ---

Config gemma3(const Keys& keys) {
  Config c = common(keys, {26, 131072, 4096, 0, 262208});
  const char* pattern =
      keys.find("sliding_window_pattern") == nullptr ? "_sliding_window_pattern" : "sliding_window_pattern";
  fill_kinds(keys, keys.integer(pattern, 1, kMostLayers, 6), c);
  c.share_keys(0, keys.where());
  keys.expect_off(kBothWays, "attention to earlier tokens only");
  if (const JsonValue* layers = keys.object("per_layer_config"); layers != nullptr && !layers->keys().empty())
    keys.unsupported("per_layer_config", "layers of equal sizes", *layers);
  if (const JsonValue* cap = keys.find("attn_logit_softcapping"))
    keys.unsupported("attn_logit_softcapping", "none", *cap);
  c.attention_scale = static_cast<float>(1.0 / std::sqrt(keys.positive("query_pre_attn_scalar", 256)));
  const JsonValue nothing;
  const JsonValue* nested = keys.object("rope_parameters");
  if (nested != nullptr && !nested->keys().empty() && nested->find("full_attention") == nullptr)
    keys.refuse("rope_parameters", "'full_attention' and 'sliding_attention'", *nested);
  const auto part = [&](const char* name) {
    const JsonValue* found = nested == nullptr ? nullptr : Keys(*nested, keys.where()).object(name);
    return found == nullptr ? &nothing : found;
  };
  // Older files write the full layers' scaling apart, and both bases.
  const JsonValue* scaling = keys.object("rope_scaling");
  const JsonValue* full = scaling == nullptr ? part("full_attention") : scaling;
  const char* full_name = scaling == nullptr ? ": rope_parameters.full_attention" : ": rope_scaling";
  const Rope far =
      rope_of(Keys(*full, keys.where() + full_name), keys.positive("rope_theta", 1e6), channels_of(c, false));
  const Rope near = rope_of(Keys(*part("sliding_attention"), keys.where() + ": rope_parameters.sliding_attention"),
                            keys.positive("rope_local_base_freq", 1e4), channels_of(c, true));
  c.rope_full = far.frequencies, c.rope_base_full = far.base, c.rope_factor = far.factor;
  c.rope_sliding = near.frequencies, c.rope_base_sliding = near.base;
  return c;
}

// --- Gemma 4 ---

// Full layers have heads of their own; transformers writes them layer by layer, the published files as two numbers.
void fill_heads(const Keys& keys, Config& c) {
  const JsonValue* layers = keys.object("per_layer_config");
  if (layers == nullptr) {
    const int64_t channels = keys.integer("global_head_dim", 1, kMostHeads, 512);
    const bool own_heads = keys.flag("attention_k_eq_v");
    for (LayerConfig& layer : c.layers) {
      if (layer.sliding) continue;
      layer.channels = channels;
      if (own_heads) layer.kv_heads = keys.integer("num_global_key_value_heads", 1, kMostHeads, layer.kv_heads);
    }
    return;
  }
  for (size_t i = 0; i < layers->keys().size(); ++i) {
    const std::string& key = layers->keys()[i];  // "5", or "05" among more than ten layers
    size_t index = c.layers.size();
    const auto [end, failed] = std::from_chars(key.data(), key.data() + key.size(), index);
    if (failed != std::errc() || end != key.data() + key.size() || index >= c.layers.size())
      keys.refuse("per_layer_config", cat("layers 0 to ", c.layers.size() - 1), *layers);
    const Keys own(layers->values()[i], cat(keys.where(), ": per_layer_config.", key));
    LayerConfig& layer = c.layers[index];
    for (size_t j = 0; j < layers->values()[i].keys().size(); ++j) {
      const std::string& name = layers->values()[i].keys()[j];
      if (name == "head_dim")
        layer.channels = own.integer("head_dim", 1, kMostHeads);
      else if (name == "num_key_value_heads")
        layer.kv_heads = own.integer("num_key_value_heads", 1, kMostHeads);
      else if (name == "num_attention_heads")
        layer.heads = own.integer("num_attention_heads", 1, kMostHeads);
      else if (name == "intermediate_size")
        layer.ffn = own.integer("intermediate_size", 1, kMostWidth);
      else
        own.unsupported(name, "heads and widths only", layers->values()[i].values()[j]);
    }
  }
}

// The first of several names that the file has.
const char* one_of(const Keys& keys, std::initializer_list<const char*> names) {
  for (const char* name : names)
    if (keys.find(name) != nullptr) return name;
  return *names.begin();
}

void fill_mixture(const Keys& keys, Config& c) {
  if (!keys.flag("enable_moe_block")) return;
  c.experts = keys.integer("num_experts", 1, 1 << 16);
  c.experts_used = keys.integer(one_of(keys, {"top_k_experts", "num_experts_per_tok"}), 1, 1 << 10);
  c.expert_ffn = keys.integer(one_of(keys, {"moe_intermediate_size", "expert_intermediate_size"}), 1, kMostWidth);
}

void fill_rope(const Keys& keys, Config& c) {
  const int64_t full = channels_of(c, false), near = channels_of(c, true);
  const JsonValue* nested = keys.object("rope_parameters");
  if (const JsonValue* scaling = keys.find("rope_scaling"))
    keys.unsupported("rope_scaling", "none beside rope_parameters", *scaling);
  if (nested == nullptr) {
    c.rope_full = rope_frequencies(1e6, full, 1.0, full / 8);
    c.rope_sliding = rope_frequencies(1e4, near, 1.0, near / 2);
    return;
  }
  const auto part = [&](const char* name, double theta, int64_t channels) {
    const JsonValue* found = Keys(*nested, keys.where()).object(name);
    const std::string where = cat(keys.where(), ": rope_parameters.", name);
    if (found == nullptr) throw BadFile(cat(where, ": expected an object, and it is missing"));
    return rope_of(Keys(*found, where), theta, channels);
  };
  const Rope far = part("full_attention", 1e6, full), sliding = part("sliding_attention", 1e4, near);
  c.rope_full = far.frequencies, c.rope_base_full = far.base;
  c.rope_sliding = sliding.frequencies, c.rope_base_sliding = sliding.base;
}

Config gemma4(const Keys& keys, bool unified) {
  Config c = common(keys, {30, unified ? 262144 : 131072, unified ? 1024 : 512, unified ? 0 : 256, 262144});
  fill_kinds(keys, 6, c);
  c.layers.back().sliding = false;  // as the class does, whatever the file says
  c.value_norm = true;
  c.attention_scale = 1;
  const JsonValue* seen = keys.find(kBothWays);
  if (seen != nullptr && seen->as_bool() != false && seen->as_string() != "vision")
    keys.unsupported(kBothWays, "none or 'vision'", *seen);
  // Missing, it is the class's: "vision" in the unified models, none in the others.
  const bool vision = seen != nullptr ? seen->as_string() == "vision" : unified && !keys.names(kBothWays);
  c.vision = vision ? VisionMask::Sliding : VisionMask::Causal;
  c.pad = static_cast<int32_t>(keys.integer("pad_token_id", 0, c.vocabulary - 1, 0));
  fill_heads(keys, c);
  // A missing width is the class's 256, not none.
  c.per_layer = keys.integer("hidden_size_per_layer_input", 0, kMostWidth, unified ? 0 : 256);
  if (c.per_layer > 0 && keys.integer("vocab_size_per_layer_input", 1, kMostPositions, c.vocabulary) != c.vocabulary)
    keys.unsupported("vocab_size_per_layer_input", cat(c.vocabulary, ", as vocab_size"),
                     *keys.find("vocab_size_per_layer_input"));
  const int64_t shared = keys.integer("num_kv_shared_layers", 0, kMostLayers, 0);
  c.share_keys(shared, keys.where());
  const bool wide = keys.flag("use_double_wide_mlp"), same = keys.flag("attention_k_eq_v");
  for (size_t i = 0; i < c.layers.size(); ++i) {
    LayerConfig& layer = c.layers[i];
    const bool shares = static_cast<int64_t>(i + static_cast<size_t>(shared)) >= static_cast<int64_t>(c.layers.size());
    if (wide && shares) layer.ffn *= 2;
    layer.keys_are_values = same && !layer.sliding && !shares;
  }
  fill_mixture(keys, c);
  fill_rope(keys, c);
  return c;
}

// Gemma4AssistantConfig: a decoder's sizes without keys, rotation and window, which are its target's.
Config drafter(const Keys& outer, const Keys& keys) {
  Config c = common(keys, {30, 131072, 512, 0, 262144});
  fill_kinds(keys, 6, c);
  c.layers.back().sliding = false;
  fill_heads(keys, c);
  c.backbone = outer.integer("backbone_hidden_size", 1, kMostWidth);
  if (outer.flag("use_ordered_embeddings")) {
    c.centroids = outer.integer("num_centroids", 1, kMostWidth, 2048);
    c.centroids_used = outer.integer("centroid_intermediate_top_k", 1, kMostWidth, 32);
  }
  c.architecture = "gemma4_assistant";
  return c;
}

const JsonValue& text_part(const JsonValue& json) {
  const JsonValue* nested = json.find("text_config");
  return nested != nullptr && nested->kind() == JsonKind::Object ? *nested : json;
}

}  // namespace

bool ties_head(const JsonValue& json) {
  for (const JsonValue* part : {&text_part(json), &json}) {
    const JsonValue* tied = part->find("tie_word_embeddings");
    if (tied != nullptr && tied->as_bool() == false) return false;
  }
  return true;
}

Config folder_config(const JsonValue& json, const std::string& where) {
  if (json.kind() != JsonKind::Object) throw BadFile(cat(where, ": expected an object, got ", json.shown()));
  const Keys outer(json, where);
  const JsonValue& part = text_part(json);
  const bool nested = &part != &json;
  const Keys keys(part, nested ? where + ": text_config" : where);
  std::string type = keys.text("model_type", outer.text("model_type", "").c_str());
  if (type.size() > 5 && type.substr(type.size() - 5) == "_text") type.resize(type.size() - 5);
  if (type == "gemma4_assistant" || type == "gemma4_unified_assistant") type = "gemma4";
  if (type != "gemma3" && type != "gemma4" && type != "gemma4_unified")
    throw UnsupportedModel(cat(where, ": model_type: expected 'gemma3', 'gemma4' or 'gemma4_unified' (or one of them ",
                               "with '_text'), got '", type, "'; gemlet does not run such models"));
  if (const JsonValue* quantised = outer.find("quantization_config"))
    outer.unsupported("quantization_config", "weights in F32, F16 or BF16", *quantised);
  const std::string whole = outer.text("model_type", "");
  if (whole == "gemma4_assistant" || whole == "gemma4_unified_assistant") return drafter(outer, keys);
  Config c = type == "gemma3" ? gemma3(keys) : gemma4(keys, type == "gemma4_unified");
  c.architecture = type == "gemma3" ? "gemma3" : "gemma4";
  c.check(keys.where());
  return c;
}

}  // namespace gemlet::model
