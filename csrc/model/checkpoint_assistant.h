// Drafters' files under the names that Weights reads. Their Config lacks what belongs to the target: see drafter.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model/checkpoint.h"

namespace gemlet::model {

// Whether general.architecture names a drafter of Gemma 4.
bool is_assistant(std::string_view architecture);
// Throws BadFile when asked for its config.
std::shared_ptr<const Checkpoint> assistant_of(std::shared_ptr<const formats::Gguf> file);
// Throws UnsupportedModel if it is a drafter, which is no model of its own.
void expect_model(const Checkpoint& file);
// A file or a Hugging Face folder, of a drafter or of anything else. Throws what the readers throw.
std::shared_ptr<const Checkpoint> open_assistant(const std::string& path);

}  // namespace gemlet::model
