// One step of several sequences: each brings the tokens it wants to run next, all of them go through the model together,
// and each takes its rows. No row's result depends on the others (kernels/api.h), so nobody can tell who shared his step.
#pragma once

#include <vector>

#include "core/tensor.h"
#include "engine/scheduler.h"
#include "model/decoder.h"

namespace gemlet::engine {

class Engine;

// A job that runs tokens of one sequence. All of it on the engine's thread.
class SequenceJob : public Job {
 public:
  // True while it reads a prompt, of which it can run as much as there is room for.
  virtual bool reads() const = 0;
  // What it runs next: at most `room` tokens if it reads, a few otherwise. alone: nobody shares the step, so that guesses
  // may be worth running too.
  virtual model::Piece piece(int64_t room, bool alone) = 0;
  // Whether take() is to get the logits of its wanted rows; else it sees to them itself.
  virtual bool wants_logits() const = 0;
  // h (n, D): the states of its wanted rows; logits (n, V), or none. True: that was its last step.
  virtual bool take(Rows<const float> h, Rows<const float> logits) = 0;

 private:
  bool shares() const final { return true; }
  bool step() final;  // it never runs alone
};

// Tokens that a prompt may take of a step while others wait for their next one.
constexpr int64_t kSharedBlockTokens = 128;

// One step of jobs that are all SequenceJobs. A job's own failure is its own; what fails in the shared part is tried again
// for each alone.
void step_together(Engine& engine, std::vector<Turn>& turns);

}  // namespace gemlet::engine
