// The job that turns pictures into soft tokens: resized to what their budget allows, then through the tower in parts, so
// that other calls take their turns in between. Its memory is given back when it ends. And the job that only resizes: frames
// of a film that go through the tower together wait for each other at that size, not at their own.
#pragma once

#include <memory>
#include <vector>

#include "engine/engine.h"
#include "media/image.h"

namespace gemlet::engine {

struct SeenPicture {
  media::Pixels<const uint8_t> from;
  media::ImageSize to;  // whole squares
  float* tokens;        // (to.height / side * to.width / side, D)
};

class SeeJob final : public Job {
 public:
  // The pixels and where the tokens go must stay until the job ends. Throws BadArgument for an engine that does not see.
  SeeJob(Engine& engine, std::vector<SeenPicture> pictures);

 private:
  bool step() override;
  void begin();
  void finished(std::exception_ptr failure) override;
  Engine& engine_;
  std::vector<SeenPicture> pictures_;
  std::vector<std::vector<uint8_t>> resized_;
  std::unique_ptr<model::VisionPass> pass_;
};

class FitJob final : public Job {
 public:
  // Both must stay until the job ends.
  FitJob(Engine& engine, media::Pixels<const uint8_t> from, media::Pixels<uint8_t> to)
      : engine_(engine), from_(from), to_(to) {}

 private:
  bool step() override;
  void finished(std::exception_ptr /*failure*/) override {}
  Engine& engine_;
  media::Pixels<const uint8_t> from_;
  media::Pixels<uint8_t> to_;
};

}  // namespace gemlet::engine
