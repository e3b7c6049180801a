// Where the time of a step goes and what work was done in it, by operation, prompts and new tokens apart. Off unless a
// context points at one: off, a change of operation costs a comparison, on, a reading of the clock. Only the thread that
// runs the steps writes to it, and it goes on when its parallel loops have ended, so what it counts is what users wait for.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>

namespace gemlet {

enum class Operation {
  Embedding,
  Norm,
  Quantise,
  Qkv,
  Rope,
  Store,
  Attention,
  Output,
  GateUp,
  Gelu,
  Down,
  Router,
  Experts,
  PerLayer,
  Head,
  Sampling,
  Rest
};
constexpr std::array<const char*, 17> kOperationNames = {
    "embedding", "norms", "quantise", "qkv",     "rope",      "cache store", "attention", "output", "gate/up",
    "gelu",      "down",  "router",   "experts", "per-layer", "head",        "sampling",  "rest"};
static_assert(static_cast<size_t>(Operation::Rest) + 1 == kOperationNames.size());

class Profile {
 public:
  enum class Phase { Prefill, Decode };  // a step that does both counts as Prefill
  struct Part {
    int64_t calls = 0;
    double seconds = 0;
    int64_t bytes = 0;       // of weights, and of keys and values, each once a call
    int64_t operations = 0;  // executed; a multiply-add counts two
  };
  struct Account {
    std::array<Part, kOperationNames.size()> parts;
    int64_t steps = 0, tokens = 0;
  };

  // From here to its end time goes to `operation`, except where another scope begins inside. profile may be null.
  class Scope {
   public:
    Scope(Profile* profile, Operation operation) : profile_(profile) {
      if (profile_ != nullptr) before_ = profile_->change(operation), ++profile_->part(operation).calls;
    }
    ~Scope() {
      if (profile_ != nullptr) profile_->change(before_);
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Profile* profile_;
    Operation before_ = Operation::Rest;
  };

  // A step; only inside one does the clock run.
  class Step {
   public:
    Step(Profile* profile, Phase phase) : profile_(profile) {
      if (profile_ != nullptr) profile_->begin(phase);
    }
    ~Step() {
      if (profile_ != nullptr) profile_->end();
    }
    Step(const Step&) = delete;
    Step& operator=(const Step&) = delete;

   private:
    Profile* profile_;
  };

  // Work done in the operation under way.
  void count(int64_t bytes, int64_t operations) {
    Part& now = part(current_);
    now.bytes += bytes, now.operations += operations;
  }
  void count_tokens(int64_t tokens) { accounts_[phase_].tokens += tokens; }
  const Account& account(Phase phase) const { return accounts_[static_cast<size_t>(phase)]; }

 private:
  using Clock = std::chrono::steady_clock;
  Part& part(Operation operation) { return accounts_[phase_].parts[static_cast<size_t>(operation)]; }

  void begin(Phase phase) {
    phase_ = static_cast<size_t>(phase), current_ = Operation::Rest;
    ++accounts_[phase_].steps, ++part(current_).calls;
    since_ = Clock::now(), running_ = true;
  }
  void end() { change(Operation::Rest), running_ = false; }

  Operation change(Operation to) {
    const Operation from = current_;
    if (running_) {
      const Clock::time_point now = Clock::now();
      part(from).seconds += std::chrono::duration<double>(now - since_).count();
      since_ = now;
    }
    current_ = to;
    return from;
  }

  std::array<Account, 2> accounts_;
  size_t phase_ = 0;
  Operation current_ = Operation::Rest;
  bool running_ = false;
  Clock::time_point since_;
};

}  // namespace gemlet
