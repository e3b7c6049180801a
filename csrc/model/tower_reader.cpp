// Shapes are compared before anything is read; see tower_reader.h.
#include "model/tower_reader.h"

#include <cmath>

#include "core/error.h"

namespace gemlet::model {

using formats::TensorInfo;

namespace {

int64_t elements(const TensorInfo& tensor) {
  int64_t n = 1;
  for (const int64_t size : tensor.shape) n *= size;
  return n;
}

}  // namespace

const TensorInfo& TowerReader::find(const std::string& name) {
  const TensorInfo* tensor = file_.tensor(name);
  if (tensor == nullptr) refuse(name, "it is missing; the file is incomplete");
  if (codec::info(tensor->type).decode == nullptr)
    throw UnsupportedModel(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': type ",
                               codec::info(tensor->type).name, " cannot be a weight"));
  parameters_ += elements(*tensor);
  return *tensor;
}

codec::Matrix TowerReader::matrix(const std::string& name, int64_t rows, int64_t cols) {
  const TensorInfo& tensor = find(name);
  if (tensor.shape.size() < 2 || tensor.shape[0] != rows || elements(tensor) != rows * cols)
    refuse(name, cat("expected (", rows, ", ", cols, "), got ", text(tensor)));
  return {tensor.data, tensor.type, rows, cols, codec::row_bytes(tensor.type, cols)};
}

float* TowerReader::vector(const std::string& name, int64_t size) {
  const TensorInfo& tensor = find(name);
  if (elements(tensor) != size) refuse(name, cat("expected (", size, "), got ", text(tensor)));
  float* values = room(size);
  codec::decode_row({tensor.data, tensor.type, 1, size, codec::row_bytes(tensor.type, size)}, 0, values);
  return values;
}

Bounds TowerReader::bounds(const std::string& name) {
  const Bounds endless;
  return {bound(name + "_min", endless.low), bound(name + "_max", endless.high)};
}

float TowerReader::bound(const std::string& name, float otherwise) {
  if (!has(name)) return otherwise;
  const float value = *vector(name, 1);
  if (std::isnan(value)) refuse(name, "expected a number, got NaN");
  return value;
}

float* TowerReader::room(int64_t size) {
  vectors_.emplace_back(new float[static_cast<size_t>(size)]);
  return vectors_.back().get();
}

void TowerReader::refuse(const std::string& name, const std::string& problem) const {
  throw BadFile(cat(file_.format(), ": '", file_.path(), "': tensor '", name, "': ", problem));
}

std::string TowerReader::text(const TensorInfo& tensor) {
  std::string s;
  for (const int64_t n : tensor.shape) s += cat(s.empty() ? "(" : ", ", n);
  return s.empty() ? "()" : s + ")";
}

}  // namespace gemlet::model
