// Per-layer embeddings (E2B, E4B): what each token brings into each layer, from its identity and from its context.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "model/config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace gemlet::model {

class PerLayerInputs {
 public:
  // For layers [from, to): ids (T), x0 (T, D) the scaled embeddings -> (T, to - from, P). Replaces what was there.
  void fill(ops::Context& on, const Config& c, const Weights& w, const int32_t* ids, Rows<const float> x0, int64_t from,
            int64_t to, ops::Quantised& scratch);
  // (T, P) of a layer in [from, to).
  Rows<const float> of(int64_t layer) const;
  size_t bytes() const { return inputs_.bytes() + rows_.bytes(); }

 private:
  Buffer<float> inputs_, rows_;  // (T, to - from, P) each: the sum, and the table's part of it
  int64_t tokens_ = 0, from_ = 0, to_ = 0, channels_ = 0;
};

}  // namespace gemlet::model
