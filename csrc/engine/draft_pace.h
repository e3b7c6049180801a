// How many drafts the next step should verify: enough to gain, none where they cost more than they save. Decides from what
// steps took and what was accepted; whatever it decides, the text is the same.
#pragma once

#include <array>
#include <cstdint>

namespace gemlet::engine {

class DraftPace {
 public:
  static constexpr int64_t kMost = 8;  // drafts of one step; the cache takes back twice as many
  static constexpr int kKinds = 3;     // of guesses, told apart by how far they can be trusted

  // fixed: always so many, -1: as measured.
  explicit DraftPace(int64_t fixed) : fixed_(fixed) {}

  // Of `offered` drafts of this kind, how many to verify; 0: a plain step.
  int64_t choose(int64_t offered, int kind);
  // A step with so many drafts took so long; of the drafts so many were right.
  void took(int64_t drafted, double seconds);
  void judged(int kind, int64_t drafted, int64_t accepted);

 private:
  struct Share {  // of drafts at one place that were right, where all before them were
    double right = 0, tried = 0;
  };
  struct Rest {  // after a kind did not pay: plain steps until it is tried again
    int64_t left = 0, next = 0;
  };
  double cost(int64_t drafted) const;
  double gain(int64_t drafted, int kind) const;  // tokens a second, next to a plain step's

  int64_t fixed_;
  std::array<double, kMost + 1> seconds_{};  // by number of drafts, 0: never measured
  std::array<std::array<Share, kMost>, kKinds> shares_{};
  std::array<Rest, kKinds> rests_{};
  int64_t since_plain_ = 0;
};

}  // namespace gemlet::engine
