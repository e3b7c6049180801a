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
  Buffer<float> x, h, q, k, v, heads, gate, up;  // (T, D) (T, D) (T, H C) (T, K C) .. (T, H C) (T, F) (T, F)
  ops::Quantised quantised;
  ops::RopeTable rope_sliding, rope_full;
  std::vector<int64_t> positions, begin_sliding, begin_full, end;  // (T)
  size_t bytes() const;
};

class Decoder {
 public:
  explicit Decoder(std::shared_ptr<const formats::Gguf> file);

  // Runs `count` new tokens after the cache's last one and commits them. Returns h (W, D): the state after the final norm
  // of rows `wanted` of this block (ascending); it stays in `s` until the next block. Rows that nobody wants take part
  // only as far as others can see them: the last layer computes their keys and values and nothing else.
  Rows<const float> forward(ops::Context& on, const int32_t* ids, int64_t count, const std::vector<int64_t>& wanted,
                            KvCache& kv, State& s, const Tap& tap = {}) const;
  // logits (W, V) = h (W, D) . head^T, after the final softcap where there is one.
  void head(ops::Context& on, Rows<const float> h, Rows<float> logits, State& s) const;

  // The logits of these ids alone, out (ids): bit for bit what head() gives for h (1, D).
  void head_rows(ops::Context& on, Rows<const float> h, const std::vector<int32_t>& ids, float* out, State& s) const;

  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const formats::Gguf& file() const { return *file_; }

 private:
  std::shared_ptr<const formats::Gguf> file_;
  Config config_;
  Weights weights_;
};

}  // namespace gemlet::model
