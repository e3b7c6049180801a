// Gemma 4's drafter (its "assistant"): a few layers that guess the next tokens from the target's own keys and values. It has
// no cache and reads no prompt; whether a guess is right is not its business.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/checkpoint.h"
#include "model/decoder.h"

namespace gemlet::model {

class Drafter {
 public:
  // Throws BadFile if the file is damaged, or made for a target of other sizes.
  Drafter(std::shared_ptr<const Checkpoint> file, const Decoder& target);

  // The `count` likeliest ids after `id`, which follows what `kv` holds, greedily one after the other. state (D of the
  // target): what the target chose `id` from, after its final norm. Needs at least one cached token.
  std::vector<int32_t> draft(ops::Context& on, KvCache& kv, int32_t id, const float* state, int64_t count,
                             State& s) const;

  // draft() step by step, for tests. place() once a round: the position is the same for all of its steps.
  void place(ops::Context& on, KvCache& kv, State& s) const;
  // state (D of the target) is replaced by the next step's. Returns x (1, D) after the final norm, what the head reads.
  Rows<const float> step(ops::Context& on, int32_t id, float* state, State& s) const;
  // logits (V). With centroids: of the ids of the best ones; the others are one below the smallest of those.
  void head(ops::Context& on, Rows<const float> x, float* logits, State& s) const;

  const Config& config() const { return config_; }
  const Weights& weights() const { return weights_; }
  const Checkpoint& file() const { return *file_; }

 private:
  void join();  // fills in what belongs to the target, and checks the rest against it
  const Decoder& target_;
  std::shared_ptr<const Checkpoint> file_;
  Config config_;
  Weights weights_;
};

}  // namespace gemlet::model
