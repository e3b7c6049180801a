// Search in what is held plus what came; keep the longest tail that begins a stop string.
#include "engine/stop_text.h"

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace gemlet::engine {

StopText::StopText(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_)
    if (stop.empty()) throw BadArgument("stop: expected non-empty strings, got an empty one");
}

std::string StopText::push(const std::string& text) {
  if (met()) return {};
  held_ += text;
  size_t first = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at < first) first = at, met_ = stop;
  }
  if (first != std::string::npos) {
    std::string before = held_.substr(0, first);
    held_.clear();
    return before;
  }
  size_t keep = 0;
  for (const std::string& stop : stops_)
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > keep; --n)
      if (held_.compare(held_.size() - n, n, stop, 0, n) == 0) keep = n;
  std::string certain = held_.substr(0, held_.size() - keep);
  held_.erase(0, held_.size() - keep);
  return certain;
}

std::string StopText::finish() { return met() ? std::string() : std::exchange(held_, {}); }

}  // namespace gemlet::engine
