// The queue and its thread.
#include "engine/scheduler.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "core/error.h"

namespace gemlet::engine {
namespace {

constexpr size_t kMostTogether = 16;  // sequences in a step

}  // namespace

bool Job::wait(int milliseconds) {
  std::unique_lock<std::mutex> lock(mutex_);
  return changed_.wait_for(lock, std::chrono::milliseconds(milliseconds), [&] { return done_; });
}

void Job::rethrow() const {
  if (failure_) std::rethrow_exception(failure_);
}

void Job::end(std::exception_ptr failure) {
  finished(failure);
  const std::lock_guard<std::mutex> lock(mutex_);
  failure_ = std::move(failure);
  done_ = true;
  changed_.notify_all();
}

Scheduler::Scheduler(StepTogether together)
    : together_(std::move(together)), owner_(::getpid()), thread_([this] { run(); }) {}

Scheduler::~Scheduler() { close(); }

void Scheduler::submit(std::shared_ptr<Job> job) {
  if (::getpid() != owner_)
    throw Error(cat("engine: this process (", ::getpid(), ") was forked from the one that loaded the model (", owner_,
                    "), and threads do not survive a fork; load the model in the child, or start it by 'spawn'"));
  const std::lock_guard<std::mutex> lock(mutex_);
  if (closing_) throw Error("engine: the model is closed; load it again");
  jobs_.push_back(std::move(job));
  wake_.notify_one();
}

void Scheduler::cancel_all() {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (const std::shared_ptr<Job>& job : jobs_) job->cancel();
}

void Scheduler::close() {
  if (::getpid() != owner_) {  // the thread exists only in the parent
    if (thread_.joinable()) thread_.detach();
    return;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    closing_ = true;
    for (const std::shared_ptr<Job>& job : jobs_) job->cancel();
    wake_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void Scheduler::run() {
  for (;;) {
    std::vector<Turn> turns;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return closing_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      turns = next_turns();
    }
    run_step(turns);
  }
}

// The first job, and with it all others whose steps can be shared if its can.
std::vector<Turn> Scheduler::next_turns() {
  std::vector<Turn> turns;
  const bool shared = jobs_.front()->shares();
  for (const std::shared_ptr<Job>& job : jobs_) {
    if (job->shares() == shared) turns.push_back({job, false, nullptr});
    if (!shared || turns.size() == kMostTogether) break;
  }
  return turns;
}

// Runs one step of them; those with more to do go to the end of the queue.
void Scheduler::run_step(std::vector<Turn>& turns) {
  for (Turn& turn : turns)
    if (turn.job->cancelled()) turn.failure = std::make_exception_ptr(Cancelled("engine: the call was cancelled"));
  try {
    Turn& first = turns.front();
    if (first.job->shares())
      together_(turns);
    else if (!first.failure)
      first.done = first.job->step();
  } catch (...) {
    for (Turn& turn : turns)
      if (!turn.failure) turn.failure = std::current_exception();
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (const Turn& turn : turns) {
      jobs_.erase(std::find(jobs_.begin(), jobs_.end(), turn.job));
      if (!turn.done && !turn.failure) jobs_.push_back(turn.job);
    }
  }
  for (const Turn& turn : turns)
    if (turn.done || turn.failure) turn.job->end(turn.failure);
}

}  // namespace gemlet::engine
