// The text decoder: token ids in, hidden states or logits out, one block of tokens at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tap.h"
#include "core/tensor.h"
#include "formats/gguf.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace gemlet::model {

// Activations of one block, reused from block to block.
struct State {
  Buffer<float> x, h, q, k, v, heads, gate, up, wanted;   // (T, D) (T, D) (T, H C) (T, K C) .. (T, H C) (T, F) (T, F)
  ops::Quantised quantised;
  ops::RopeTable rope_sliding, rope_full;
  std::vector<int64_t> positions, begin_sliding, begin_full, end;   // (T)
  size_t bytes() const;
};

class Decoder {
 public:
  explicit Decoder(std::shared_ptr<const formats::Gguf> file);

  // Runs `count` new tokens after the cache's last one and commits them. x (T, D) stays in `s.x` until the next block.
  void forward(ops::Context& on, const int32_t* ids, int64_t count, KvCache& kv, State& s, const Tap& tap = {}) const;
  // h (W, D) = final norm of rows `wanted` of the last block.
  Rows<const float> final_norm(ops::Context& on, const std::vector<int64_t>& wanted, State& s) const;
  // logits (W, V) from final_norm's rows.
  void head(ops::Context& on, Rows<const float> h, Rows<float> logits, State& s) const;

  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const formats::Gguf& file() const { return *file_; }

 private:
  std::shared_ptr<const formats::Gguf> file_;
  Config config_;
  Weights weights_;
};

}  // namespace gemlet::model
