// Detection by cpuid and xgetbv; baseline code only. A set counts as present when the CPU has it and the operating
// system saves its registers.
#include "kernels/dispatch.h"

#include <cstdlib>
#include <initializer_list>

#include "core/error.h"
#include "kernels/tables.h"

namespace gemlet::kernels {
namespace {

using Add = void (*)(Table&);

Table assemble(const char* name, std::initializer_list<Add> parts) {
  Table table{};
  table.name = name;
  for (const Add add : parts) add(table);
  return table;
}

#define GEMLET_TABLE(isa) \
  assemble(#isa, {isa::add_matvec, isa::add_gemm, isa::add_attend, isa::add_rows, isa::add_floats})

std::vector<const Table*> detect() {
  static const Table scalar_table = GEMLET_TABLE(scalar);
  std::vector<const Table*> found{&scalar_table};
#ifdef GEMLET_X86
  // __builtin_cpu_supports looks at the saved register state (xgetbv) as well as at cpuid.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return found;
  unsigned eax = 7, ebx = 0, ecx = 1, edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  const bool avxvnni = (eax >> 4) & 1U;
  eax = 1, ecx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  if (!((ecx >> 29) & 1U)) return found;  // F16C
  static const Table avx2_table = GEMLET_TABLE(avx2);
  found.push_back(&avx2_table);
  if (avxvnni) {
    static const Table avxvnni_table = GEMLET_TABLE(avxvnni);
    found.push_back(&avxvnni_table);
  }
#endif
  return found;
}

}  // namespace

const std::vector<const Table*>& available() {
  static const std::vector<const Table*> found = detect();
  return found;
}

const Table& by_name(const std::string& name) {
  std::string names;
  for (const Table* table : available()) {
    if (name == table->name) return *table;
    names += cat(names.empty() ? "" : ", ", table->name);
  }
  throw BadArgument(cat("isa: this CPU has no '", name, "'; it has: ", names, "; unset GEMLET_ISA to use the best"));
}

const Table& active() {
  const char* forced = std::getenv("GEMLET_ISA");
  if (forced != nullptr && *forced != '\0') return by_name(forced);
  return *available().back();
}

const Format* find(const Table& table, codec::Type type) {
  for (const Format& format : table.formats)
    if (format.type == type) return &format;
  return nullptr;
}

}  // namespace gemlet::kernels
