// What Whisper may say next: tokens that are never said, blanks at the beginning, and the grammar of timestamps (in pairs,
// never back in time). Edits one row of logits; knows no search.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/api.h"

namespace gemlet::engine {

struct WhisperRules {
  int32_t end = 0;              // <|endoftext|>: all text is below it
  int32_t no_timestamps = -1;   // -1: the vocabulary has none
  int32_t first_timestamp = 0;  // <|0.00|>: all ids from here on are timestamps
  bool timestamps = true;
  int64_t latest_start = -1;       // of the first timestamp, in steps after <|0.00|>; -1: any
  std::vector<int32_t> never;      // ids
  std::vector<int32_t> not_first;  // ids that cannot begin a text
};

// The largest of x (n), and ln of the sum of exp(x). -inf, -inf where all are.
struct LogSum {
  float most = 0;
  double log = 0;
};
LogSum log_sum(const kernels::Table& kernels, const float* x, int64_t n);

// said: what the text consists of so far, with the part that was given. begun: whether it has tokens of its own. Forbidden
// ids of logits (V) become -inf. Returns the log sum of what is left.
LogSum apply(const kernels::Table& kernels, const WhisperRules& rules, const std::vector<int32_t>& said, bool begun,
             float* logits, int64_t vocabulary);

}  // namespace gemlet::engine
