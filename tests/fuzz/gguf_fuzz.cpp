// libFuzzer target: any bytes into the GGUF parser; what it accepts is read to the last value and decoded.
// Refusals are the library's own errors; anything else is a finding.
#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "demand.h"
#include "formats/gguf.h"

namespace {

using gemlet::codec::Matrix;
using gemlet::formats::Gguf;
using gemlet::formats::TensorInfo;
using gemlet::formats::Value;

constexpr int64_t kMostColumns = 4096;
constexpr int64_t kMostRows = 8;

uint64_t touch(const Value& value) {
  uint64_t sum = 0;
  if (const auto text = value.as_string()) sum += sum_of(*text);
  const auto texts = value.strings();
  for (const std::string_view text : texts) sum += sum_of(text);
  if (gemlet::formats::width_of(value.type) == 0) {
    demand(!value.is_array || texts.size() == value.count);
    demand(!value.as_int() && !value.as_float() && !value.as_bool());
    return sum;
  }
  for (uint64_t i = 0; i < value.count; ++i) {
    sum += value.as_int(i).value_or(1) > 0;
    sum += value.as_float(i).value_or(1) > 0;
    sum += value.as_bool(i).value_or(true);
  }
  demand(!value.as_int(value.count) && !value.as_float(value.count) && !value.as_bool(value.count));
  return sum;
}

void decode_some_rows(const TensorInfo& tensor) {
  Matrix m;
  m.data = tensor.data;
  m.type = tensor.type;
  m.cols = tensor.shape.back();
  m.row_bytes = gemlet::codec::row_bytes(m.type, m.cols);
  m.rows = static_cast<int64_t>(tensor.bytes / m.row_bytes);
  if (gemlet::codec::info(m.type).decode == nullptr || m.cols > kMostColumns) return;
  std::vector<float> row(static_cast<size_t>(m.cols));
  for (int64_t r = 0; r < std::min(m.rows, kMostRows); ++r) {
    gemlet::codec::decode_row(m, r, row.data());
    gemlet::codec::decode_row(m, m.rows - 1 - r, row.data());
  }
}

void explore(const Gguf& gguf, const uint8_t* bytes, size_t size) {
  uint64_t sum = 0;
  for (const auto& [key, value] : gguf.metadata()) {
    demand(gguf.find(key) == &value);
    sum += touch(value);
    try {
      sum += static_cast<uint64_t>(gguf.require_int(key));
      sum += gguf.require_float(key) > 0;
      sum += sum_of(gguf.require_string(key));
    } catch (const gemlet::BadFile&) {  // most keys are of one type only
      ++sum;
    }
  }
  for (const TensorInfo& tensor : gguf.tensors()) {
    demand(gguf.tensor(tensor.name) == &tensor);
    demand(tensor.data == bytes + tensor.file_offset && tensor.file_offset + tensor.bytes <= size);
    decode_some_rows(tensor);
  }
  keep(sum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    Gguf parsed = Gguf::parse(bytes, size, "fuzz");
    const Gguf moved = std::move(parsed);  // views into names must survive a move
    explore(moved, bytes, size);
  } catch (const gemlet::Error& e) {
    demand(sum_of(e.what()) > 0);
  }
  return 0;
}
