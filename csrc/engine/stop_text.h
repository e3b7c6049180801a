// Stop strings in streamed text: holds back what may be the beginning of one.
#pragma once

#include <string>
#include <vector>

namespace gemlet::engine {

class StopText {
 public:
  explicit StopText(std::vector<std::string> stops);  // throws BadArgument for an empty one
  // Text that is now certain to precede any stop string. After a stop was met, always empty.
  std::string push(const std::string& text);
  std::string finish();  // what was held back, if no stop was met
  bool met() const { return !met_.empty(); }
  const std::string& which() const { return met_; }

 private:
  std::vector<std::string> stops_;
  std::string held_;
  std::string met_;
};

}  // namespace gemlet::engine
