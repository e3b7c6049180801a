// Jobs that read a sequence of tokens and keep something of every position: logits, hidden states, scores.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/engine.h"

namespace gemlet::engine {

// Walks a prompt in blocks; the sub-class takes what it wants of each. Whoever holds the job keeps the engine alive: a job
// must not, or the engine's own thread could be the last to let go of it.
class ReadJob : public Job {
 public:
  ReadJob(Engine& engine, model::Prompt prompt);

 protected:
  bool step() final;
  // The rows of block [first, first + count) whose state after the final norm is wanted, ascending.
  virtual std::vector<int64_t> wanted(int64_t first, int64_t count) = 0;
  // h (W, D): those states.
  virtual void take(int64_t first, Rows<const float> h) = 0;
  virtual Tap tap(int64_t /*first*/) { return {}; }
  // So many first tokens are only read for those after them: they may be known already, and with `keeps` stay known.
  virtual int64_t unwanted() const { return 0; }
  virtual bool keeps() const { return false; }
  Engine& engine() { return engine_; }
  const std::vector<int32_t>& ids() const { return prompt_.ids; }
  const model::Prompt& prompt() const { return prompt_; }
  const model::KvCache& cache() const { return cache_; }

 private:
  Engine& engine_;
  model::Prompt prompt_;
  model::KvCache cache_;
  bool started_ = false;
};

// out (positions, V): logits of the given positions (ascending order is not needed). out must stay until the job ends.
class LogitsJob final : public ReadJob {
 public:
  LogitsJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> positions, float* out);

 private:
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t first, Rows<const float> h) override;
  int64_t unwanted() const override { return positions_.empty() ? 0 : positions_.front().first; }
  std::vector<std::pair<int64_t, int64_t>> positions_;  // (position, row of out), ascending
  std::vector<std::pair<int64_t, int64_t>> slots_;      // (row of h, row of out) of the block being run
  float* out_;
};

// out (layers, T, D): the state after each named layer; layer L is the state after the final norm.
class HiddenJob final : public ReadJob {
 public:
  HiddenJob(Engine& engine, model::Prompt prompt, std::vector<int64_t> layers, float* out);

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
  ScoreJob(Engine& engine, model::Prompt prompt, int64_t first, float* out);

 private:
  std::vector<int64_t> wanted(int64_t first, int64_t count) override;
  void take(int64_t first, Rows<const float> h) override;
  int64_t unwanted() const override { return from_ - 1; }
  bool keeps() const override { return true; }  // continuations of one prompt follow one another
  int64_t from_;
  float* out_;
};

}  // namespace gemlet::engine
