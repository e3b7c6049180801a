// GGUF's keys `gemma3.*` and `gemma4.*` as sizes; what the format implies without storing it is written down here.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "model/checkpoint.h"
#include "model/checkpoint_assistant.h"
#include "model/gguf_keys.h"

namespace gemlet::model {
namespace {

using formats::Gguf;
using formats::Value;
using Keys = GgufKeys;

Config common(const Keys& keys) {
  Config c;
  c.width = keys.integer("embedding_length", 1, kMostWidth);
  c.context = keys.integer("context_length", 1, kMostPositions);
  c.window = keys.integer("attention.sliding_window", 1, kMostPositions);
  c.eps = static_cast<float>(keys.positive_or("attention.layer_norm_rms_epsilon", 1e-6));
  c.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(c.width)));
  c.layers.resize(static_cast<size_t>(keys.integer("block_count", 1, kMostLayers)));
  return c;
}

Config gemma3(const Gguf& file) {
  const Keys keys(file, "gemma3.");
  Config c = common(keys);
  LayerConfig layer;
  layer.heads = keys.integer("attention.head_count", 1, kMostHeads);
  layer.kv_heads = keys.integer("attention.head_count_kv", 1, kMostHeads);
  layer.channels = keys.integer("attention.key_length", 1, kMostHeads);
  layer.ffn = keys.integer("feed_forward_length", 1, kMostWidth);
  for (size_t i = 0; i < c.layers.size(); ++i) {
    layer.sliding = (i + 1) % 6 != 0;  // five sliding, one full
    c.layers[i] = layer;
  }
  c.share_keys(0, keys.where());
  const double factor = keys.positive_or("rope.scaling.factor", 1.0);
  const int64_t half = layer.channels / 2;
  c.rope_full = rope_frequencies(keys.positive_or("rope.freq_base", 1e6), layer.channels, factor, half);
  c.rope_sliding = rope_frequencies(keys.positive_or("rope.freq_base_swa", 1e4), layer.channels, 1.0, half);
  // query_pre_attn_scalar: the head's channels everywhere but in the 27B, whose value is D / H.
  const bool is_27b = c.layers.size() == 62;
  c.attention_scale =
      static_cast<float>(1.0 / std::sqrt(is_27b ? static_cast<double>(c.width) / static_cast<double>(layer.heads)
                                                : static_cast<double>(layer.channels)));
  return c;
}

// The frequencies of full layers: rope_freqs divides them, and 1e30 stops a pair.
std::vector<float> proportional(const Gguf& file, double base, int64_t channels) {
  constexpr float kStopped = 1e20F;
  std::vector<float> inverse = rope_frequencies(base, channels, 1.0, channels / 2);
  const formats::TensorInfo* factors = file.tensor("rope_freqs.weight");
  if (factors == nullptr)
    throw BadFile(cat("gguf: '", file.path(), "': tensor 'rope_freqs.weight' (", channels / 2,
                      ") is missing; without it nothing says which pairs turn: convert the model anew"));
  if (factors->shape != std::vector<int64_t>{channels / 2} || factors->type != codec::Type::F32)
    throw BadFile(cat("gguf: '", file.path(), "': tensor 'rope_freqs.weight': expected (", channels / 2,
                      ") in F32, got ", codec::info(factors->type).name, " in another shape or type"));
  std::vector<float> divisors(inverse.size());
  codec::decode_row({factors->data, factors->type, 1, channels / 2, factors->bytes}, 0, divisors.data());
  for (size_t d = 0; d < inverse.size(); ++d) {
    if (!(divisors[d] > 0))
      throw BadFile(
          cat("gguf: '", file.path(), "': tensor 'rope_freqs.weight': expected positive numbers, got ", divisors[d]));
    inverse[d] = divisors[d] >= kStopped ? 0.0F : inverse[d] / divisors[d];
  }
  return inverse;
}

// What the head counts and lengths say of each layer.
void fill_layers(const Gguf& file, const Keys& keys, Config& c) {
  const size_t count = c.layers.size();
  const auto heads = keys.by_layer("attention.head_count", count, 1, kMostHeads);
  const auto kv_heads = keys.by_layer("attention.head_count_kv", count, 1, kMostHeads);
  const auto ffn = keys.by_layer("feed_forward_length", count, 1, kMostWidth);
  const auto sliding = keys.by_layer("attention.sliding_window_pattern", count, 0, 1);
  const int64_t full = keys.integer("attention.key_length", 1, kMostHeads);
  const int64_t near = keys.integer("attention.key_length_swa", 1, kMostHeads);
  if (keys.integer_or("attention.value_length", 1, kMostHeads, full) != full ||
      keys.integer_or("attention.value_length_swa", 1, kMostHeads, near) != near)
    throw UnsupportedModel(cat(keys.where(), ": keys and values of different lengths are not supported"));
  for (size_t i = 0; i < count; ++i) {
    LayerConfig& l = c.layers[i];
    l.sliding = sliding[i] != 0;
    l.heads = heads[i], l.kv_heads = kv_heads[i], l.ffn = ffn[i];
    l.channels = l.sliding ? near : full;
  }
  c.share_keys(keys.integer_or("attention.shared_kv_layers", 0, kMostLayers, 0), keys.where());
  for (size_t i = 0; i < count; ++i)  // a shared layer's own tensors are dead where a file still has them
    c.layers[i].keys_are_values =
        c.layers[i].kv_source == static_cast<int64_t>(i) && file.tensor(cat("blk.", i, ".attn_v.weight")) == nullptr;
  c.rope_full = proportional(file, keys.positive_or("rope.freq_base", 1e6), full);
  c.rope_sliding = rope_frequencies(keys.positive_or("rope.freq_base_swa", 1e4), near, 1.0, near / 2);
}

std::vector<int32_t> suppressed(const Gguf& file) {
  std::vector<int32_t> ids;
  const Value* value = file.find("tokenizer.ggml.suppress_tokens");
  for (uint64_t i = 0; value != nullptr && i < value->count; ++i) {
    const auto id = value->as_int(i);
    if (!id || *id < 0 || *id > INT32_MAX)
      throw BadFile(cat("gguf: '", file.path(), "': key 'tokenizer.ggml.suppress_tokens': expected token ids"));
    ids.push_back(static_cast<int32_t>(*id));
  }
  return ids;
}

Config gemma4(const Gguf& file) {
  const Keys keys(file, "gemma4.");
  Config c = common(keys);
  c.value_norm = true;
  c.attention_scale = 1;  // q_norm's weight carries the temperature
  c.logit_cap = 30;       // where the file does not say
  if (keys.has("final_logit_softcapping")) {
    c.logit_cap = static_cast<float>(file.require_float("gemma4.final_logit_softcapping"));
    if (!std::isfinite(c.logit_cap) || c.logit_cap < 0)
      throw BadFile(
          cat(keys.where(), ": key 'gemma4.final_logit_softcapping': expected 0 (none) or more, got ", c.logit_cap));
  }
  c.per_layer = keys.integer_or("embedding_length_per_layer_input", 0, kMostWidth, 0);
  c.experts = keys.integer_or("expert_count", 0, 1 << 16, 0);
  if (c.experts > 0) {
    c.experts_used = keys.integer("expert_used_count", 1, 1 << 10);
    c.expert_ffn = keys.integer("expert_feed_forward_length", 1, kMostWidth);
  }
  fill_layers(file, keys, c);
  c.suppress = suppressed(file);
  // No key says it: the models with per-layer embeddings see pictures as they see text, the others both ways.
  c.vision = c.per_layer > 0 ? VisionMask::Causal : VisionMask::Sliding;
  if (const Value* pad = file.find("tokenizer.ggml.padding_token_id"); pad != nullptr && pad->as_int())
    c.pad = static_cast<int32_t>(std::clamp<int64_t>(*pad->as_int(), -1, INT32_MAX));
  return c;
}

std::optional<double> optional_number(const Gguf& file, const std::string& key) {
  if (file.find(key) == nullptr) return std::nullopt;
  const double number = file.require_float(key);
  if (!std::isfinite(number) || number < 0)
    throw BadFile(cat("gguf: '", file.path(), "': key '", key, "': expected a number of 0 or more, got ", number));
  return number;
}

class GgufCheckpoint final : public Checkpoint {
 public:
  explicit GgufCheckpoint(std::shared_ptr<const Gguf> file) : file_(std::move(file)) {}
  const std::string& path() const override { return file_->path(); }
  const char* format() const override { return "gguf"; }
  const formats::TensorInfo* tensor(std::string_view name) const override { return file_->tensor(name); }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return file_->files(); }

  std::vector<std::string_view> names() const override {
    std::vector<std::string_view> names;
    for (const formats::TensorInfo& t : file_->tensors()) names.emplace_back(t.name);
    return names;
  }

  std::optional<int64_t> file_type() const override {
    const Value* value = file_->find("general.file_type");
    return value != nullptr ? value->as_int() : std::nullopt;
  }

  GenerationDefaults generation() const override {
    const std::string prefix = "general.sampling.";
    GenerationDefaults d;
    d.temperature = optional_number(*file_, prefix + "temp");
    d.top_p = optional_number(*file_, prefix + "top_p");
    d.min_p = optional_number(*file_, prefix + "min_p");
    if (file_->find(prefix + "top_k") != nullptr) d.top_k = std::max<int64_t>(0, file_->require_int(prefix + "top_k"));
    for (const char* name : {"eos_token_id", "eot_token_id", "eom_token_id"}) {
      const Value* value = file_->find(std::string("tokenizer.ggml.") + name);
      const auto id = value == nullptr ? std::nullopt : value->as_int();
      if (id && *id >= 0 && *id <= INT32_MAX) d.end_ids.push_back(static_cast<int32_t>(*id));
    }
    return d;
  }

  std::optional<std::string> chat_template() const override {
    const Value* value = file_->find("tokenizer.chat_template");
    const auto text = value == nullptr ? std::nullopt : value->as_string();
    return text ? std::optional<std::string>(*text) : std::nullopt;
  }

  Config config() const override {
    const std::string architecture(file_->require_string("general.architecture"));
    if (architecture != "gemma3" && architecture != "gemma4")
      throw UnsupportedModel(
          cat("gguf: '", path(), "': architecture '", architecture,
              "': this version runs 'gemma3' and 'gemma4'; `gemlet show` prints what the file holds"));
    Config c = architecture == "gemma3" ? gemma3(*file_) : gemma4(*file_);
    c.architecture = architecture;
    if (const Value* name = file_->find("general.name"); name != nullptr && name->as_string())
      c.name = std::string(*name->as_string());
    const formats::TensorInfo* table = tensor("token_embd.weight");
    if (table == nullptr || table->shape.size() != 2)
      throw BadFile(cat("gguf: '", path(), "': tensor 'token_embd.weight': expected (V, ", c.width,
                        "), and it is missing or no matrix; the file is incomplete"));
    c.vocabulary = table->shape[0];
    c.check(cat("gguf: '", path(), "'"));
    return c;
  }

 private:
  std::shared_ptr<const Gguf> file_;
};

}  // namespace

std::shared_ptr<const Checkpoint> checkpoint_of(std::shared_ptr<const Gguf> file) {
  const Value* architecture = file->find("general.architecture");
  if (architecture != nullptr && is_assistant(architecture->as_string().value_or("")))
    return assistant_of(std::move(file));
  return std::make_shared<GgufCheckpoint>(std::move(file));
}

}  // namespace gemlet::model
