// Drafters' files under the names that Weights reads. Their Config lacks what belongs to the target: see drafter.h.
#pragma once

#include <memory>
#include <string_view>

#include "model/checkpoint.h"

namespace gemlet::model {

// Whether general.architecture names a drafter of Gemma 4.
bool is_assistant(std::string_view architecture);
// Throws BadFile when asked for its config.
std::shared_ptr<const Checkpoint> assistant_of(std::shared_ptr<const formats::Gguf> file);

}  // namespace gemlet::model
