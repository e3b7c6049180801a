// Guesses from the text itself: where the last few tokens stood before, what came after them there. Answers about a text
// quote it, code repeats its names. Knows no model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace gemlet::engine {

class PromptLookup {
 public:
  struct Match {
    std::vector<int32_t> ids;  // what came after; empty: no match
    int64_t length = 0;        // how many of the last tokens stood there, kLongest at most
  };
  static constexpr int64_t kLeast = 2, kLongest = 16;

  void add(int32_t id);  // constant time on average
  int64_t size() const { return static_cast<int64_t>(ids_.size()); }
  // The longest of the latest kTries matches, on equality the latest. A match that reaches into its own continuation
  // repeats it, so a loop of any length is continued. At most `most` ids.
  Match find(int64_t most) const;

 private:
  static constexpr int kTries = 32;
  size_t bucket(size_t at) const;  // of the pair that ends at `at`
  void link(size_t at);

  std::vector<int32_t> ids_;
  std::vector<int32_t> last_;    // by bucket: where a pair ended last, -1: nowhere
  std::vector<int32_t> before_;  // by place: where a pair of the same bucket ended before
};

}  // namespace gemlet::engine
