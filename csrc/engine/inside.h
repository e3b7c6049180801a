// Jobs that look inside: which experts a mixture chose, which keys heads looked at. They read a sequence as any other,
// and watch it through taps.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/evaluate.h"

namespace gemlet::engine {

// experts, weights (L, T, k), best first: ids, and weights that sum to 1, before the experts' own scales.
class RoutingJob final : public ReadJob {
 public:
  RoutingJob(Engine& engine, model::Prompt prompt, int32_t* experts, float* weights);

 private:
  Tap tap(int64_t first) override;
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t /*first*/, Rows<const float> /*h*/) override {}
  int32_t* experts_;
  float* weights_;
};

// out (layers, heads, positions, T): how much each position's query gave to each key; 0 where it could not see it.
class AttentionJob final : public ReadJob {
 public:
  AttentionJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> layers, std::vector<int64_t> heads,
               std::vector<int64_t> positions, float* out);

 private:
  Tap tap(int64_t first) override;
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t /*first*/, Rows<const float> /*h*/) override {}
  void look(size_t layer_slot, int64_t first, Rows<const float> q);
  std::vector<int64_t> layers_, heads_, positions_;
  float* out_;
};

// out (positions, keys): how much each position's query gave to each of some keys, as the mean over all named heads of all
// named layers; what the rest of the sequence got is missing from the sum. Holds one row of weights a thread.
class AttentionMapJob final : public ReadJob {
 public:
  AttentionMapJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> layers, std::vector<int64_t> heads,
                  std::vector<int64_t> positions, model::Block keys, float* out);

 private:
  Tap tap(int64_t first) override;
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t /*first*/, Rows<const float> /*h*/) override {}
  int64_t unwanted() const override;
  void look(size_t layer, int64_t first, Rows<const float> q);
  std::vector<int64_t> layers_, heads_, positions_;
  model::Block keys_;
  std::vector<std::vector<float>> weights_;  // by worker: (T)
  float* out_;
};

}  // namespace gemlet::engine
