// Places in prompts: where they may be cut, and up to where two of them are the same.
#include "model/prompt.h"

#include <algorithm>

#include "core/error.h"

namespace gemlet::model {

void Prompt::check_spans() const {
  int64_t free = 0;
  for (size_t i = 0; i < spans.size(); ++i) {
    const Span& span = spans[i];
    if (span.count < 1 || span.begin < free || span.begin > size() - span.count)
      throw BadArgument(cat("prompt: spans[", i, "] has positions ", span.begin, " to ", span.begin + span.count - 1,
                            ", expected at least one, behind the last span and within ", size(), " tokens"));
    free = span.end();
  }
}

void Prompt::find_blocks(bool both_ways) {
  blocks.clear();
  if (!both_ways) return;
  for (const Span& span : spans) {
    if (span.kind == SoftKind::Audio) continue;
    if (!blocks.empty() && blocks.back().end == span.begin)
      blocks.back().end = span.end();
    else
      blocks.push_back({span.begin, span.end()});
  }
}

int64_t Prompt::cut(int64_t at) const {
  const auto next =
      std::upper_bound(blocks.begin(), blocks.end(), at, [](int64_t place, const Block& b) { return place < b.end; });
  return next != blocks.end() && next->begin < at ? next->begin : at;
}

int64_t Prompt::step(int64_t first, int64_t most) const {
  const int64_t end = cut(first + most);
  if (end > first) return end - first;
  const auto block =
      std::find_if(blocks.begin(), blocks.end(), [first](const Block& b) { return b.begin <= first && first < b.end; });
  return block != blocks.end() ? block->end - first : most;
}

Prompt Prompt::first(int64_t count) const {
  Prompt part(std::vector<int32_t>(ids.begin(), ids.begin() + count));
  for (const Span& span : spans)
    if (span.begin < count) part.spans.push_back({span.begin, span.count, span.kind, span.hash, nullptr});
  for (const Block& block : blocks)
    if (block.begin < count) part.blocks.push_back(block);
  return part;
}

int64_t common_prefix(const Prompt& a, const Prompt& b) {
  int64_t same = std::mismatch(a.ids.begin(), a.ids.end(), b.ids.begin(), b.ids.end()).first - a.ids.begin();
  for (size_t i = 0; i < std::max(a.spans.size(), b.spans.size()); ++i) {
    const Span* x = i < a.spans.size() ? &a.spans[i] : nullptr;
    const Span* y = i < b.spans.size() ? &b.spans[i] : nullptr;
    if (x != nullptr && y != nullptr && x->same(*y)) continue;
    for (const Span* span : {x, y})
      if (span != nullptr) same = std::min(same, span->begin);
    break;
  }
  return std::min(a.cut(same), b.cut(same));
}

}  // namespace gemlet::model
