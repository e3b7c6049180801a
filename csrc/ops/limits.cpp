// Best of several short runs: a limit is what the machine can do when nothing disturbs it. The mean says how much did.
#include "ops/limits.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <new>

namespace gemlet::ops {
namespace {

constexpr size_t kBytes = size_t{256} << 20;  // far beyond any last-level cache we expect
constexpr int kRuns = 5;
constexpr int64_t kSteps = 2'000'000;

struct Seconds {
  double best = 1e9, mean = 0;
};

template <class Work>
Seconds time_runs(const Work& work) {
  Seconds found;
  for (int i = 0; i < kRuns; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    found.best = std::min(found.best, seconds);
    found.mean += seconds / kRuns;
  }
  return found;
}

}  // namespace

Limits measure_limits(const kernels::Table& kernels, const Team& team) {
  void* memory = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  ::madvise(memory, kBytes, MADV_HUGEPAGE);
  std::memset(memory, 1, kBytes);
  const auto* bytes = static_cast<const uint8_t*>(memory);
  constexpr int64_t kPieces = 64;
  constexpr size_t kPiece = kBytes / kPieces;
  std::atomic<uint64_t> sum{0};  // keeps the reads
  const Seconds read = time_runs([&] {
    team.run(kPieces,
             [&](int64_t i, int) { sum += kernels.read_stream(bytes + static_cast<size_t>(i) * kPiece, kPiece); });
  });
  ::munmap(memory, kBytes);
  std::atomic<int64_t> operations{0};
  const int64_t steps = std::strcmp(kernels.name, "scalar") == 0 ? kSteps / 50 : kSteps;
  const Seconds compute = time_runs([&] {
    operations = 0;
    team.run(team.threads(), [&](int64_t, int) { operations += static_cast<int64_t>(kernels.int8_stream(steps)); });
  });
  constexpr double kRead = static_cast<double>(kBytes) / 1e9;
  return {kRead / read.best, kRead / read.mean, static_cast<double>(operations.load()) / compute.best / 1e9};
}

}  // namespace gemlet::ops
