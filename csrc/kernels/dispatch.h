// Which instruction set runs: the best this CPU has, or the one that GEMLET_ISA names.
#pragma once

#include <string>
#include <vector>

#include "kernels/api.h"

namespace gemlet::kernels {

// Sets this CPU and operating system can run, plainest first.
const std::vector<const Table*>& available();
// By name, of those available. Throws BadArgument listing them.
const Table& by_name(const std::string& name);
// GEMLET_ISA if set (BadArgument if this CPU lacks it), else the best.
const Table& active();
// The kernels of a block format, nullptr if it has no fast path.
const Format* find(const Table& table, codec::Type type);

}  // namespace gemlet::kernels
