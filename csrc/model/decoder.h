// The text decoder: token ids in, hidden states or logits out, one block of tokens at a time, of one sequence or several.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/tap.h"
#include "core/tensor.h"
#include "model/checkpoint.h"
#include "model/config.h"
#include "model/kv_cache.h"
#include "model/mixture.h"
#include "model/per_layer.h"
#include "model/prompt.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace gemlet::model {

// New tokens of one sequence, after its cache's last one.
struct Piece {
  KvCache* kv;
  const int32_t* ids;  // (count)
  int64_t count;
  std::vector<int64_t> wanted;  // rows, ascending, whose state after the final norm somebody will read
  // Whose positions from the cache's length on these are, for the soft rows among them; null: tokens only. Must hold
  // whole blocks (Prompt::step).
  const Prompt* prompt = nullptr;
};

// Activations of one block, reused from block to block.
struct State {
  Buffer<float> x, h, q, k, v, heads, gate, up;  // (T, D) (T, D) (T, H C) (T, K C) .. (T, H C) (T, F) (T, F)
  Buffer<float> branch;                          // (T, D): the experts' sum, or the embeddings of the wanted rows
  PerLayerInputs per_layer;
  Mixture mixture;
  ops::Quantised quantised;
  ops::RopeTable rope_sliding, rope_full;
  struct Span {  // rows of one sequence
    KvCache* kv;
    int64_t first, count;
  };
  std::vector<Span> spans;
  std::vector<int32_t> ids;        // (T); padding's at soft rows
  std::vector<const float*> soft;  // (T): the row that stands for the token's embedding, or null
  std::vector<Block> own;          // (T): the block that a row belongs to, or its own position
  std::vector<int64_t> positions;  // (T)
  struct Sight {                   // (T): the keys [begin, end) that each row sees
    std::vector<int64_t> begin, end;
  };
  Sight sliding, full;  // in either kind of layer
  size_t bytes() const;
};

class Decoder {
 public:
  // overlay: pictures are seen as by VisionMask::Overlay, if both ways at all.
  explicit Decoder(std::shared_ptr<const Checkpoint> file, bool overlay = false);

  // Runs the new tokens of all pieces and commits them to their caches. Returns h (W, D): the state after the final norm
  // of the wanted rows, piece after piece; it stays in `s` until the next block. Rows that nobody wants take part only as
  // far as others can see them: up to the keys and values of the last layer that has its own.
  Rows<const float> forward(ops::Context& on, const std::vector<Piece>& pieces, State& s, const Tap& tap = {}) const;
  // logits (W, V) = h (W, D) . head^T, after the final softcap where there is one.
  void head(ops::Context& on, Rows<const float> h, Rows<float> logits, State& s) const;

  // The logits of these ids alone, out (ids): bit for bit what head() gives for h (1, D).
  void head_rows(ops::Context& on, Rows<const float> h, const std::vector<int32_t>& ids, float* out, State& s) const;

  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const Checkpoint& file() const { return *file_; }

 private:
  std::shared_ptr<const Checkpoint> file_;
  Config config_;
  Weights weights_;
};

}  // namespace gemlet::model
