// Runs every kernel of every instruction set that this CPU has on random and edge inputs and compares with the scalar set,
// bit for bit. Arguments: the sets that must be there besides, plainest first, and no others. Fails naming the differences.
#include <algorithm>
#include <cstdlib>
#include <exception>

#include "compare.h"

namespace {

using namespace gemlet;

void check_choice(checks::Report& report, const std::vector<std::string>& expected) {
  std::vector<std::string> names;
  for (const kernels::Table* table : kernels::available()) names.emplace_back(table->name);
  report.expect(names == expected, cat("this CPU has ", names.size(), " sets, the best being ", names.back(),
                                       "; expected were ", expected.size(), " up to ", expected.back()));
  ::unsetenv("GEMLET_ISA");
  report.expect(kernels::active().name == expected.back(), cat("the default is ", kernels::active().name));
  for (const char* name : {"scalar", "neon", "dotprod", "i8mm", "avx2"}) {
    const bool there = std::find(expected.begin(), expected.end(), name) != expected.end();
    ::setenv("GEMLET_ISA", name, 1);
    try {
      const std::string chosen = kernels::active().name;
      report.expect(there && chosen == name, cat("GEMLET_ISA=", name, " was accepted and gave ", chosen));
    } catch (const BadArgument& error) {
      report.expect(!there, error.what());
    }
  }
}

int run(const std::vector<std::string>& expected) {
  checks::Report report;
  check_choice(report, expected);
  checks::Sets sets(kernels::available().begin() + 1, kernels::available().end());
  checks::check_rows(report, sets);
  checks::check_products(report, sets);
  checks::check_attention(report, sets);
  checks::check_wide(report, sets);
  std::string names;
  for (const std::string& name : expected) names += " " + name;
  std::printf("%s: %lld results over%s\n", report.failed() ? "DIFFERENT" : "the same bits",
              static_cast<long long>(report.results()), names.c_str());
  return report.failed() ? 1 : 0;
}

}  // namespace

int main(int count, char** arguments) {
  std::vector<std::string> expected{"scalar"};
  expected.insert(expected.end(), arguments + 1, arguments + count);
  try {
    return run(expected);
  } catch (const std::exception& error) {
    std::printf("%s\n", error.what());
    return 1;
  }
}
