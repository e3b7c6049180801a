// Numbers under one architecture's prefix of a GGUF file, each checked for type and bounds before anyone uses it. What
// they mean, and what is assumed where one is missing, is the caller's.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "formats/gguf.h"

namespace gemlet::model {

inline constexpr int64_t kMostLayers = 1024, kMostWidth = 1 << 20, kMostHeads = 4096;
inline constexpr int64_t kMostPositions = int64_t{1} << 30;

class GgufKeys {
 public:
  GgufKeys(const formats::Gguf& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  std::string where() const { return cat("gguf: '", file_.path(), "'"); }
  bool has(const char* name) const { return file_.find(prefix_ + name) != nullptr; }

  int64_t integer(const char* name, int64_t least, int64_t most) const {
    return in_bounds(name, file_.require_int(prefix_ + name), least, most);
  }
  int64_t integer_or(const char* name, int64_t least, int64_t most, int64_t otherwise) const {
    return has(name) ? integer(name, least, most) : otherwise;
  }
  double positive_or(const char* name, double otherwise) const {
    if (!has(name)) return otherwise;
    const double number = file_.require_float(prefix_ + name);
    if (!std::isfinite(number) || number <= 0)
      throw BadFile(cat(where(), ": key '", prefix_, name, "': expected a positive number, got ", number));
    return number;
  }
  // One number for all layers, or one for each.
  std::vector<int64_t> by_layer(const char* name, size_t layers, int64_t least, int64_t most) const {
    const formats::Value* value = file_.find(prefix_ + name);
    if (value == nullptr || !value->is_array) return std::vector<int64_t>(layers, integer(name, least, most));
    if (value->count != layers)
      throw BadFile(
          cat(where(), ": key '", prefix_, name, "': expected ", layers, " numbers, one a layer, got ", value->count));
    std::vector<int64_t> numbers;
    for (size_t i = 0; i < layers; ++i) {
      const auto number = value->as_int(i);
      if (!number) throw BadFile(cat(where(), ": key '", prefix_, name, "': expected whole numbers"));
      numbers.push_back(in_bounds(name, *number, least, most));
    }
    return numbers;
  }

 private:
  int64_t in_bounds(const char* name, int64_t value, int64_t least, int64_t most) const {
    if (value < least || value > most)
      throw BadFile(cat(where(), ": key '", prefix_, name, "': expected ", least, " to ", most, ", got ", value));
    return value;
  }
  const formats::Gguf& file_;
  std::string prefix_;
};

}  // namespace gemlet::model
