// Resize, then the tower; see see.h.
#include "engine/see.h"

#include <utility>

#include "core/error.h"

namespace gemlet::engine {

SeeJob::SeeJob(Engine& engine, std::vector<SeenPicture> pictures) : engine_(engine), pictures_(std::move(pictures)) {
  if (engine_.vision() == nullptr)
    throw BadArgument(cat("picture: '", engine_.decoder().config().name, "' has no part that sees"));
}

void SeeJob::begin() {
  std::vector<model::Picture> ready;
  for (const SeenPicture& p : pictures_) {
    if (p.from.size.height == p.to.height && p.from.size.width == p.to.width && p.from.stride == p.to.width * 3) {
      ready.push_back({p.from.data, p.to.height, p.to.width, p.tokens});
      continue;
    }
    std::vector<uint8_t>& pixels = resized_.emplace_back(static_cast<size_t>(p.to.height * p.to.width * 3));
    media::resize(engine_.on().team, p.from, {pixels.data(), p.to, p.to.width * 3});
    ready.push_back({pixels.data(), p.to.height, p.to.width, p.tokens});
  }
  pass_ = model::vision_pass(*engine_.vision(), engine_.on(), std::move(ready));
}

bool SeeJob::step() {
  bool done = false;
  engine_.on().team.region([&] {
    if (pass_ == nullptr)
      begin();
    else
      done = pass_->step();
  });
  return done;
}

void SeeJob::finished(std::exception_ptr /*failure*/) {
  pass_.reset();
  resized_.clear();
}

bool FitJob::step() {
  engine_.on().team.region([&] { media::resize(engine_.on().team, from_, to_); });
  return true;
}

}  // namespace gemlet::engine
