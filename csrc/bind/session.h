// A session as Python holds it: what it read, and the model that must outlive it.
#pragma once

#include <memory>

#include "engine/engine.h"
#include "engine/prefix_cache.h"

namespace gemlet::bind {

struct Session {
  std::shared_ptr<engine::Engine> engine;
  std::shared_ptr<engine::PrefixCache> read;
};

}  // namespace gemlet::bind
