// Reads a tower's tensors by name and shape: matrices as views into the mapped file, vectors as copies in float32. Which
// there are is the tower's own.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "codec/codec.h"
#include "model/tower_file.h"

namespace gemlet::model {

struct Bounds {
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
  bool operator==(const Bounds&) const = default;
  bool any() const { return *this != Bounds{}; }
};

// Everything throws BadFile naming the tensor, UnsupportedModel for a type that is no weight.
class TowerReader {
 public:
  using Vectors = std::vector<std::unique_ptr<float[]>>;
  // What is copied goes to `vectors`; `parameters` counts what is read.
  TowerReader(const TowerFile& file, Vectors& vectors, int64_t& parameters)
      : file_(file), vectors_(vectors), parameters_(parameters) {}

  bool has(const std::string& name) const { return file_.tensor(name) != nullptr; }
  const formats::TensorInfo& find(const std::string& name);
  // (rows, cols), however many dimensions the columns are spread over.
  codec::Matrix matrix(const std::string& name, int64_t rows, int64_t cols);
  // However many dimensions they are spread over.
  float* vector(const std::string& name, int64_t size);
  // NAME_min and NAME_max; endless where the file has none.
  Bounds bounds(const std::string& name);
  // NAME.weight, and with `bounded` what its input and its output are cut to.
  template <class Clipped>
  Clipped clipped(const std::string& name, int64_t rows, int64_t cols, bool bounded) {
    Clipped m;
    m.w = matrix(name + ".weight", rows, cols);
    if (bounded) m.in = bounds(name + ".input"), m.out = bounds(name + ".output");
    return m;
  }
  float* room(int64_t size);

  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const;
  static std::string text(const formats::TensorInfo& tensor);

 private:
  float bound(const std::string& name, float otherwise);
  const TowerFile& file_;
  Vectors& vectors_;
  int64_t& parameters_;
};

}  // namespace gemlet::model
