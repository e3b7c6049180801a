// The sizes of a text model: what differs between members of the family is data here, never a branch in the decoder.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace gemlet::model {

// T new tokens, S cached tokens, D width, H heads, K key/value heads, C channels per head, F feed-forward, E experts,
// L layers, P per-layer channels, V vocabulary.
struct LayerConfig {
  bool sliding = false;          // sees `window` keys including its own; otherwise all before it
  int64_t heads = 0;             // H
  int64_t kv_heads = 0;          // K
  int64_t channels = 0;          // C
  int64_t ffn = 0;               // F
  int64_t kv_source = 0;         // the layer whose keys and values it reads: itself, or an earlier one of its kind
  bool keys_are_values = false;  // no v_proj: values are k_proj's products, before the key norm
};

// Whom the rows of a picture, or of a frame of a film, see beside all before them.
enum class VisionMask {
  Causal,   // nobody
  Sliding,  // in sliding layers those behind them in the same picture, however far; the window stays as it is backwards
  Overlay   // in every layer all of the same picture, even before the window
};

struct Config {
  std::string architecture;  // "gemma3", "gemma4", "gemma4_assistant"
  std::string name;
  int64_t width = 0;       // D
  int64_t vocabulary = 0;  // V
  int64_t window = 0;
  int64_t context = 0;  // positions it was trained for
  float eps = 1e-6F;
  float embedding_scale = 1;  // sqrt(D)
  float attention_scale = 1;
  float logit_cap = 0;      // 0: none
  bool value_norm = false;  // values are normed, without a weight
  int64_t per_layer = 0;    // P; 0: no per-layer embeddings
  int64_t experts = 0;      // E; 0: no mixture
  int64_t experts_used = 0;
  int64_t expert_ffn = 0;  // F of one expert
  int64_t backbone = 0;    // of a drafter: its target's D; 0: a model of its own
  int64_t centroids = 0;   // of a drafter: groups of ids, of which the head looks at the best; 0: a plain head
  int64_t centroids_used = 0;
  std::vector<LayerConfig> layers;
  std::vector<float> rope_sliding, rope_full;  // frequencies (C / 2); 0 does not turn
  double rope_base_sliding = 1e4, rope_base_full = 1e6,
         rope_factor = 1;         // what they were made of; the factor: full only
  std::vector<int32_t> suppress;  // ids never sampled
  int32_t pad = 0;                // the id whose per-layer embedding soft rows take
  VisionMask vision = VisionMask::Causal;

  // The last layer with keys and values of its own: what it and later layers make of a token, no other token sees.
  size_t last_owner() const;
  // Fills kv_source: the last `shared` layers read the last earlier layer of their kind. Throws BadFile starting with
  // `where` if there is none, or it has other heads.
  void share_keys(int64_t shared, const std::string& where);
  // Throws BadFile starting with `where` for numbers that contradict each other.
  void check(const std::string& where) const;
};

// base^(-2 d / C) / factor for d < C / 2, rounded to float32 as the reference stores it; 0 from pair `turning` on.
std::vector<float> rope_frequencies(double base, int64_t channels, double factor, int64_t turning);

}  // namespace gemlet::model
