// The sizes of a text model: what differs between members of the family is data here, never a branch in the decoder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "formats/gguf.h"

namespace gemlet::model {

// T new tokens, S cached tokens, D width, H heads, K key/value heads, C channels per head, F feed-forward, V vocabulary.
struct LayerConfig {
  bool sliding = false;  // sees `window` keys including its own; otherwise all before it
  int64_t heads = 0;     // H
  int64_t kv_heads = 0;  // K
  int64_t channels = 0;  // C
  int64_t ffn = 0;       // F
};

struct Config {
  std::string architecture;  // "gemma3"
  std::string name;
  int64_t width = 0;       // D
  int64_t vocabulary = 0;  // V
  int64_t window = 0;
  int64_t context = 0;  // positions it was trained for
  float eps = 1e-6F;
  float embedding_scale = 1;  // sqrt(D)
  float attention_scale = 1;
  float logit_cap = 0;  // 0: none
  std::vector<LayerConfig> layers;
  std::vector<float> rope_sliding, rope_full;  // frequencies (C / 2)

  // From GGUF metadata. Throws UnsupportedModel (architecture), BadFile (missing or impossible numbers).
  static Config from(const formats::Gguf& file);
};

}  // namespace gemlet::model
