// Jobs that read a sequence of tokens and keep something of every position: logits, hidden states, scores.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace gemlet::engine {

// Walks ids in blocks; the sub-class takes what it wants of each. Whoever holds the job keeps the engine alive: a job
// must not, or the engine's own thread could be the last to let go of it.
class ReadJob : public Job {
 public:
  ReadJob(Engine& engine, std::vector<int32_t> ids);

 protected:
  bool step() final;
  // The rows of block [first, first + count) whose state after the final norm is wanted, ascending.
  virtual std::vector<int64_t> wanted(int64_t first, int64_t count) = 0;
  // h (W, D): those states.
  virtual void take(int64_t first, Rows<const float> h) = 0;
  virtual Tap tap(int64_t /*first*/) { return {}; }
  Engine& engine() { return engine_; }
  const std::vector<int32_t>& ids() const { return ids_; }

 private:
  Engine& engine_;
  std::vector<int32_t> ids_;
  model::KvCache cache_;
};

// out (positions, V): logits of the given positions (ascending order is not needed). out must stay until the job ends.
class LogitsJob final : public ReadJob {
 public:
  LogitsJob(Engine& engine, std::vector<int32_t> ids, std::vector<int64_t> positions, float* out);

 private:
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t first, Rows<const float> h) override;
  std::vector<std::pair<int64_t, int64_t>> positions_;  // (position, row of out), ascending
  std::vector<std::pair<int64_t, int64_t>> slots_;      // (row of h, row of out) of the block being run
  float* out_;
};

// out (layers, T, D): the state after each named layer; layer L is the state after the final norm.
class HiddenJob final : public ReadJob {
 public:
  HiddenJob(Engine& engine, std::vector<int32_t> ids, std::vector<int64_t> layers, float* out);

 private:
  Tap tap(int64_t first) override;
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t first, Rows<const float> h) override;
  float* at(size_t slot, int64_t row);
  std::vector<int64_t> layers_;
  float* out_;
};

// out (T - first): log p(ids[i] | ids[0 .. i)) for i from `first` (at least 1) on. Never holds more than kHeadRows rows
// of logits.
class ScoreJob final : public ReadJob {
 public:
  ScoreJob(Engine& engine, std::vector<int32_t> ids, int64_t first, float* out);

 private:
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t first, Rows<const float> h) override;
  int64_t from_;
  float* out_;
};

}  // namespace gemlet::engine
