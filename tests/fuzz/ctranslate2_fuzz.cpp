// libFuzzer target: any bytes as a model.bin of CTranslate2's; what is accepted is read to the last byte, by all its names.
// Refusals are the library's own errors; anything else is a finding.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "demand.h"
#include "formats/ctranslate2.h"

namespace {

using gemlet::formats::CTranslate2;
using gemlet::formats::Variable;

uint64_t explore(const Variable& variable) {
  uint64_t elements = 1;
  for (const int64_t n : variable.shape) {
    demand(n >= 0);
    elements *= static_cast<uint64_t>(n);
    demand(elements <= UINT32_MAX);
  }
  demand(elements * gemlet::formats::width_of(variable.type) == variable.bytes);
  return sum_of(variable.name) + sum_of(gemlet::formats::name_of(variable.type)) +
         sum_of({reinterpret_cast<const char*>(variable.data), variable.bytes});
}

void explore(const CTranslate2& model, const uint8_t* bytes, size_t size) {
  uint64_t sum = sum_of(model.kind()) + model.revision();
  const uint8_t* end = bytes;
  for (const Variable& variable : model.variables()) {
    demand(model.find(variable.name) == &variable);
    demand(variable.data >= end && variable.data + variable.bytes <= bytes + size);  // one behind the other
    end = variable.data + variable.bytes;
    sum += explore(variable);
  }
  keep(sum);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  try {
    CTranslate2 parsed = CTranslate2::parse(bytes, size, "fuzz");
    const CTranslate2 moved = std::move(parsed);  // what names lead to must survive a move
    explore(moved, bytes, size);
  } catch (const gemlet::Error& e) {
    demand(sum_of(e.what()) > 0);
  }
  return 0;
}
