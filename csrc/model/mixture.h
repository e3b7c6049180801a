// The sparse half of a mixture layer (26B-A4B): a router that sees the stream itself, and the experts it chooses.
#pragma once

#include <cstdint>
#include <vector>

#include "core/tensor.h"
#include "model/config.h"
#include "model/weights.h"
#include "ops/ops.h"

namespace gemlet::model {

class Mixture {
 public:
  // x (T, D), the stream after attention, not normed: chooses k experts for each token.
  void route(ops::Context& on, const Config& c, const Layer& l, Rows<const float> x, ops::Quantised& scratch);
  // y (T, D) <- the weighted sum of the chosen experts of u (T, D), the normed stream.
  void experts(ops::Context& on, const Config& c, const Layer& l, Rows<const float> u, Rows<float> y,
               ops::Quantised& scratch);

  // Of the last route(), best first: expert ids (T, k) as floats, and their weights, which sum to 1.
  Rows<const float> chosen() const { return {ids_.data(), tokens_, used_}; }
  Rows<const float> weights() const { return {weights_.data(), tokens_, used_}; }
  size_t bytes() const;

 private:
  int64_t tokens_ = 0, used_ = 0;
  Buffer<float> router_in_, scores_, ids_, weights_;  // (T, D) (T, E) (T, k) (T, k)
  Buffer<float> in_, gate_, up_, out_;                // rows sorted by expert: (T k, D) (T k, F) (T k, F) (T k, D)
  std::vector<int64_t> count_, first_, slot_;         // (E) (E) (T k): where a token's row is among the sorted
};

}  // namespace gemlet::model
