// What this machine is and can: instruction sets, processors, measured limits.
#include <pybind11/stl.h>

#include "bind/bind.h"
#include "core/parallel.h"
#include "kernels/dispatch.h"
#include "ops/limits.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

std::vector<std::string> isas() {
  std::vector<std::string> names;
  for (const kernels::Table* table : kernels::available()) names.emplace_back(table->name);
  return names;
}

py::dict cpu() {
  const CpuBudget budget = cpu_budget();
  py::dict d;
  d["online"] = budget.online, d["affinity"] = budget.affinity, d["cgroup_quota"] = budget.quota;
  d["environment"] = budget.environment, d["threads"] = budget.threads;
  return d;
}

py::dict measure_limits(int threads) {
  ops::Limits limits;
  {
    const py::gil_scoped_release released;
    limits = ops::measure_limits(kernels::active(), Team(threads));
  }
  py::dict d;
  d["read_gb_s"] = limits.read_gb_s, d["read_mean_gb_s"] = limits.read_mean_gb_s, d["int8_gops"] = limits.int8_gops;
  return d;
}

}  // namespace

void register_machine(py::module_& m) {
  m.def("isas", &isas, "Instruction sets this CPU has, plainest first.");
  m.def("isa", [] { return std::string(kernels::active().name); }, "The set in use: GEMLET_ISA, or the best.");
  m.def("cpu", &cpu, "How many processors there are, and how many this process may use and why.");
  m.def("measure_limits", &measure_limits, py::arg("threads"), "Read bandwidth and int8 peak of so many threads.");
}

}  // namespace gemlet::bind
