// One thread owns the engine: every job runs on it, a step at a time, in turns; jobs that can share a step do. Callers
// wait outside, so a call can be cancelled within one step, and several Python threads may use one model.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace gemlet::engine {

class Job {
 public:
  virtual ~Job() = default;

  void cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  // True once the job has finished, failed or been cancelled; waits at most this long.
  bool wait(int milliseconds);
  // After wait() said true: throws what the job threw, or Cancelled.
  void rethrow() const;

 protected:
  friend class Scheduler;
  // One step on the engine's thread: true when the job is done.
  virtual bool step() = 0;
  // True: its steps are run by the scheduler's StepTogether, with those of its like.
  virtual bool shares() const { return false; }
  // Called once on the engine's thread (or at shutdown), after the last step.
  virtual void finished(std::exception_ptr /*failure*/) {}
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 private:
  void end(std::exception_ptr failure);
  std::atomic<bool> cancelled_{false};
  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  std::exception_ptr failure_;
};

// A job's part in a step, and what became of it.
struct Turn {
  std::shared_ptr<Job> job;
  bool done = false;
  std::exception_ptr failure;
};
using StepTogether = std::function<void(std::vector<Turn>&)>;

class Scheduler {
 public:
  explicit Scheduler(StepTogether together);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // Throws Error in a forked child (its copy of the engine has no thread) and after close().
  void submit(std::shared_ptr<Job> job);
  void cancel_all();
  // Cancels what is running, ends the thread. Safe to call twice.
  void close();

 private:
  void run();
  std::vector<Turn> next_turns();
  void run_step(std::vector<Turn>& turns);
  const StepTogether together_;
  const pid_t owner_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool closing_ = false;
  std::thread thread_;
};

}  // namespace gemlet::engine
