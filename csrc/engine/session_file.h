// A session on disk: what the model read, with its keys and values, and a text of the caller's own. The file knows which
// model and settings made it and is refused by any other; pages that snapshots share are written once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "engine/engine.h"
#include "engine/prefix_cache.h"

namespace gemlet::engine {

// A number that tells this model, with these settings, from others: sizes, tensors and a sample of their bytes.
uint64_t fingerprint(const Engine& engine);

// Whole or not at all. Throws Error, BadArgument naming the path.
void save_session(const Engine& engine, const PrefixCache& session, const std::string& notes, const std::string& path);

// Puts what the file holds into `session` and returns the notes. Throws ModelNotFound (no such file), BadFile (damaged,
// or made by another model).
std::string load_session(const Engine& engine, PrefixCache& session, const std::string& path);

}  // namespace gemlet::engine
