// Switches an engine's profile, and hands over what it counted; as a job, so that no step is under way meanwhile.
#pragma once

#include "engine/engine.h"

namespace gemlet::engine {

class ProfileJob final : public Job {
 public:
  // on: the counting begins, or goes on, from nothing.
  ProfileJob(Engine& engine, bool on) : engine_(engine), on_(on) {}
  const Profile& counted() const { return counted_; }  // since the last such job; after the job has ended

 private:
  bool step() override {
    counted_ = engine_.profile();
    engine_.profile() = Profile();
    engine_.on().profile = on_ ? &engine_.profile() : nullptr;
    return true;
  }
  Engine& engine_;
  const bool on_;
  Profile counted_;
};

}  // namespace gemlet::engine
