// The rules in the order in which the reference applies them (openai/whisper, decoding.py: its logit filters).
#include "engine/whisper_rules.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace gemlet::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();

void forbid(float* logits, int64_t begin, int64_t end) {
  if (begin < end) std::fill(logits + begin, logits + end, kNever);
}

// Timestamps come in pairs, except before the end, and do not go back; a segment is never empty.
void order(const WhisperRules& r, const std::vector<int32_t>& said, float* logits, int64_t vocabulary) {
  const int32_t first = r.first_timestamp;
  const auto is_time = [&](size_t back) { return said.size() < back || said[said.size() - back] >= first; };
  const bool last = !said.empty() && is_time(1), before = is_time(2);
  if (last && before) forbid(logits, first, vocabulary);
  if (last && !before) forbid(logits, 0, r.end);
  const auto time = std::find_if(said.rbegin(), said.rend(), [&](int32_t id) { return id >= first; });
  if (time != said.rend()) forbid(logits, first, *time + (last && !before ? 0 : 1));
}

}  // namespace

LogSum log_sum(const kernels::Table& kernels, const float* x, int64_t n) {
  constexpr int64_t kPiece = 4096;  // float32 sums of pieces, added in double
  constexpr int kLanes = 16;        // neighbours that do not wait for each other
  float lanes[kLanes];
  std::fill(lanes, lanes + kLanes, kNever);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes)
    for (int j = 0; j < kLanes; ++j) lanes[j] = x[i + j] > lanes[j] ? x[i + j] : lanes[j];
  for (; i < n; ++i) lanes[0] = std::max(lanes[0], x[i]);
  LogSum s;
  s.most = *std::max_element(lanes, lanes + kLanes);
  s.log = static_cast<double>(s.most);
  if (!std::isfinite(s.most)) return s;
  double sum = 0;
  for (int64_t p = 0; p < n; p += kPiece)
    sum += static_cast<double>(kernels.sum_exp(x + p, std::min(kPiece, n - p), s.most));
  s.log += std::log(sum);
  return s;
}

LogSum apply(const kernels::Table& kernels, const WhisperRules& r, const std::vector<int32_t>& said, bool begun,
             float* logits, int64_t vocabulary) {
  for (const int32_t id : r.never) logits[id] = kNever;
  if (!begun)
    for (const int32_t id : r.not_first) logits[id] = kNever;
  if (!r.timestamps) return log_sum(kernels, logits, vocabulary);
  if (r.no_timestamps >= 0) logits[r.no_timestamps] = kNever;
  if (said.empty()) {
    forbid(logits, 0, r.first_timestamp);
    if (r.latest_start >= 0) forbid(logits, r.first_timestamp + r.latest_start + 1, vocabulary);
    return log_sum(kernels, logits, vocabulary);
  }
  order(r, said, logits, vocabulary);
  // All timestamps together likelier than any one text token: it is a timestamp.
  const LogSum text = log_sum(kernels, logits, r.first_timestamp);
  const LogSum times = log_sum(kernels, logits + r.first_timestamp, vocabulary - r.first_timestamp);
  if (times.log > static_cast<double>(text.most)) {
    forbid(logits, 0, r.first_timestamp);
    return times;
  }
  LogSum all;
  all.most = std::max(text.most, times.most);
  const double top = std::max(text.log, times.log), low = std::min(text.log, times.log);
  all.log = std::isfinite(low) ? top + std::log1p(std::exp(low - top)) : top;
  return all;
}

}  // namespace gemlet::engine
