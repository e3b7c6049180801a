// A generation as Python holds it: the job, and the engine that must outlive it. Letting go of it cancels.
#pragma once

#include <memory>
#include <utility>

#include "engine/generate.h"

namespace gemlet::bind {

class Stream {
 public:
  Stream(std::shared_ptr<engine::Engine> engine, std::shared_ptr<engine::GenerateJob> job)
      : engine_(std::move(engine)), job_(std::move(job)) {}
  ~Stream() { job_->cancel(); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  engine::GenerateJob& job() { return *job_; }

 private:
  std::shared_ptr<engine::Engine> engine_;  // before the job: destroyed after it
  std::shared_ptr<engine::GenerateJob> job_;
};

}  // namespace gemlet::bind
