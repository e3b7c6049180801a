// Gemma 3's numbers from GGUF keys `gemma3.*`; what the format implies without storing it is written down here.
#include "model/config.h"

#include <cmath>

#include "core/error.h"

namespace gemlet::model {
namespace {

constexpr int64_t kMostLayers = 1024, kMostWidth = 1 << 20;

int64_t bounded(const formats::Gguf& file, const std::string& key, int64_t most) {
  const int64_t value = file.require_int(key);
  if (value < 1 || value > most)
    throw BadFile(cat("gguf: '", file.path(), "': key '", key, "': expected 1 to ", most, ", got ", value));
  return value;
}

double number_or(const formats::Gguf& file, const std::string& key, double otherwise) {
  const formats::Value* value = file.find(key);
  if (value == nullptr) return otherwise;
  const double number = file.require_float(key);
  if (!std::isfinite(number) || number <= 0)
    throw BadFile(cat("gguf: '", file.path(), "': key '", key, "': expected a positive number, got ", number));
  return number;
}

// base^(-2 d / C) / factor, rounded to float32 as the reference stores it.
std::vector<float> frequencies(double base, int64_t channels, double factor) {
  std::vector<float> inverse;
  for (int64_t d = 0; d < channels / 2; ++d) {
    const double exponent = 2.0 * static_cast<double>(d) / static_cast<double>(channels);
    inverse.push_back(static_cast<float>(static_cast<float>(1.0 / std::pow(base, exponent)) / factor));
  }
  return inverse;
}

Config gemma3(const formats::Gguf& file) {
  Config c;
  const std::string p = "gemma3.";
  c.width = bounded(file, p + "embedding_length", kMostWidth);
  c.context = bounded(file, p + "context_length", int64_t{1} << 30);
  c.window = bounded(file, p + "attention.sliding_window", int64_t{1} << 30);
  c.eps = static_cast<float>(number_or(file, p + "attention.layer_norm_rms_epsilon", 1e-6));
  LayerConfig layer;
  layer.heads = bounded(file, p + "attention.head_count", 4096);
  layer.kv_heads = bounded(file, p + "attention.head_count_kv", 4096);
  layer.channels = bounded(file, p + "attention.key_length", 4096);
  layer.ffn = bounded(file, p + "feed_forward_length", kMostWidth);
  if (layer.heads % layer.kv_heads != 0 || layer.channels % 8 != 0)
    throw BadFile(cat("gguf: '", file.path(), "': ", layer.heads, " heads over ", layer.kv_heads, " key heads of ",
                      layer.channels, " channels: heads must be a multiple, channels one of 8"));
  const int64_t layers = bounded(file, p + "block_count", kMostLayers);
  for (int64_t i = 0; i < layers; ++i) {
    layer.sliding = (i + 1) % 6 != 0;  // five sliding, one full
    c.layers.push_back(layer);
  }
  const double factor = number_or(file, p + "rope.scaling.factor", 1.0);
  c.rope_full = frequencies(number_or(file, p + "rope.freq_base", 1e6), layer.channels, factor);
  c.rope_sliding = frequencies(number_or(file, p + "rope.freq_base_swa", 1e4), layer.channels, 1.0);
  // query_pre_attn_scalar: the head's channels everywhere but in the 27B, whose value is D / H.
  const bool is_27b = layers == 62;
  c.attention_scale =
      static_cast<float>(1.0 / std::sqrt(is_27b ? static_cast<double>(c.width) / static_cast<double>(layer.heads)
                                                : static_cast<double>(layer.channels)));
  c.embedding_scale = static_cast<float>(std::sqrt(static_cast<double>(c.width)));
  return c;
}

}  // namespace

Config Config::from(const formats::Gguf& file) {
  const std::string architecture(file.require_string("general.architecture"));
  if (architecture != "gemma3")
    throw UnsupportedModel(cat("gguf: '", file.path(), "': architecture '", architecture,
                               "': this version runs 'gemma3'; `gemlet show` prints what the file holds"));
  Config c = gemma3(file);
  c.architecture = architecture;
  if (const formats::Value* name = file.find("general.name"); name != nullptr && name->as_string())
    c.name = std::string(*name->as_string());
  const formats::TensorInfo* table = file.tensor("token_embd.weight");
  if (table == nullptr || table->shape.size() != 2)
    throw BadFile(cat("gguf: '", file.path(), "': tensor 'token_embd.weight': expected (V, ", c.width,
                      "), and it is missing or no matrix; the file is incomplete"));
  c.vocabulary = table->shape[0];
  return c;
}

}  // namespace gemlet::model
