// libFuzzer target: any bytes into the safetensors parser, and into that of the index; what is accepted is read and decoded.
// Refusals are the library's own errors; anything else is a finding.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "demand.h"
#include "formats/safetensors.h"

namespace {

using gemlet::formats::Safetensors;
using gemlet::formats::TensorInfo;

uint64_t explore(const TensorInfo& tensor) {
  int64_t elements = 1;
  for (const int64_t n : tensor.shape) elements *= n;
  const gemlet::codec::TypeInfo& type = gemlet::codec::info(tensor.type);
  demand(static_cast<size_t>(elements) * type.block_bytes == tensor.bytes);
  const uint64_t sum = sum_of({reinterpret_cast<const char*>(tensor.data), tensor.bytes});
  if (type.decode == nullptr) return sum;
  std::vector<float> values(static_cast<size_t>(elements));
  type.decode(tensor.data, elements, values.data());
  return sum;
}

void explore(const Safetensors& s, const uint8_t* bytes, size_t size) {
  uint64_t sum = 0;
  for (const auto& [key, value] : s.metadata()) sum += sum_of(key) + sum_of(value);
  size_t tensor_bytes = 0;
  for (const TensorInfo& tensor : s.tensors()) {
    demand(s.tensor(tensor.name) == &tensor);
    demand(tensor.data == bytes + tensor.file_offset && tensor.file_offset + tensor.bytes <= size);
    tensor_bytes += tensor.bytes;
    sum += explore(tensor);
  }
  demand(tensor_bytes < size);  // they lie apart, behind a header
  keep(sum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    Safetensors parsed = Safetensors::parse(bytes, size, "fuzz");
    const Safetensors moved = std::move(parsed);  // views into names must survive a move
    explore(moved, bytes, size);
  } catch (const gemlet::Error& e) {
    demand(sum_of(e.what()) > 0);
  }
  try {
    const std::string_view text(reinterpret_cast<const char*>(bytes), size);
    for (const auto& [tensor, shard] : gemlet::formats::parse_weight_map(text, "fuzz"))
      demand(!shard.empty() && shard.find('/') == std::string::npos);
  } catch (const gemlet::BadFile& e) {
    demand(sum_of(e.what()) > 0);
  }
  return 0;
}
