// The queue and its thread.
#include "engine/scheduler.h"

#include <unistd.h>

#include <chrono>

#include "core/error.h"

namespace gemlet::engine {

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

Scheduler::Scheduler() : owner_(::getpid()), thread_([this] { run(); }) {}

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
    std::shared_ptr<Job> job;
    {
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return closing_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      job = jobs_.front();
    }
    run_step(job);
  }
}

// Runs one step of the first job; if more is to do, it goes to the end of the queue.
void Scheduler::run_step(const std::shared_ptr<Job>& job) {
  bool done = true;
  std::exception_ptr failure;
  try {
    if (job->cancelled()) throw Cancelled("engine: the call was cancelled");
    done = job->step();
  } catch (...) {
    failure = std::current_exception();
  }
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    jobs_.pop_front();
    if (!done && !failure) jobs_.push_back(job);
  }
  if (done || failure) job->end(failure);
}

}  // namespace gemlet::engine
