// Detection by cpuid and xgetbv, or by what the kernel says of an ARM; baseline code only. A set counts as present when the
// CPU has it and the operating system saves its registers.
#include "kernels/dispatch.h"

#ifdef GEMLET_AARCH64
#include <sys/auxv.h>
#endif

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

#define GEMLET_TABLE(isa, name) \
  assemble(name, {isa::add_matvec, isa::add_gemm, isa::add_attend, isa::add_rows, isa::add_floats, isa::add_wide})

#ifdef GEMLET_AARCH64
// Every 64-bit ARM has the neon set. The bits are the kernel's own (HWCAP_ASIMDDP, HWCAP2_I8MM): old C libraries lack the
// newer name.
void add_arm_sets(std::vector<const Table*>& found) {
  constexpr unsigned long kDotProduct = 1UL << 20, kMatrixInt8 = 1UL << 13;
  static const Table neon_table = GEMLET_TABLE(neon, "neon");
  found.push_back(&neon_table);
  if ((::getauxval(AT_HWCAP) & kDotProduct) == 0) return;
  static const Table dotprod_table = GEMLET_TABLE(dotprod, "dotprod");
  found.push_back(&dotprod_table);
  if ((::getauxval(AT_HWCAP2) & kMatrixInt8) == 0) return;
  static const Table i8mm_table = GEMLET_TABLE(i8mm, "i8mm");
  found.push_back(&i8mm_table);
}
#endif

std::vector<const Table*> detect() {
  static const Table scalar_table = GEMLET_TABLE(scalar, "scalar");
  std::vector<const Table*> found{&scalar_table};
#ifdef GEMLET_X86
  // __builtin_cpu_supports looks at the saved register state (xgetbv) as well as at cpuid: ymm for avx2, opmask and zmm
  // for avx512.
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return found;
  unsigned eax = 7, ebx = 0, ecx = 1, edx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  const bool avxvnni = (eax >> 4) & 1U;
  eax = 1, ecx = 0;
  __asm__("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  if (!((ecx >> 29) & 1U)) return found;  // F16C
#ifdef GEMLET_EMULATED_SETS
  // For tests: before the real sets, so that none is ever the best.
  static const Table emulated_avxvnni = GEMLET_TABLE(avxvnni_emulated, "avxvnni-emulated");
  static const Table emulated_avx512 = GEMLET_TABLE(avx512_emulated, "avx512-emulated");
  found.insert(found.end(), {&emulated_avxvnni, &emulated_avx512});
#endif
  static const Table avx2_table = GEMLET_TABLE(avx2, "avx2");
  found.push_back(&avx2_table);
  if (avxvnni) {
    static const Table avxvnni_table = GEMLET_TABLE(avxvnni, "avxvnni");
    found.push_back(&avxvnni_table);
  }
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni")) {
    static const Table avx512_table = GEMLET_TABLE(avx512, "avx512");
    found.push_back(&avx512_table);
  }
#elif defined(GEMLET_AARCH64)
  add_arm_sets(found);
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
