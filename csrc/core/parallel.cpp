// Counting the processors that are really ours (affinity mask, control-group quota), and the OpenMP loop.
#include "core/parallel.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <mutex>
#include <utility>

#include "core/error.h"

namespace gemlet {
namespace {

constexpr int kMostThreads = 1024;

// The CPU limit of a control group, version 2 (cpu.max: "quota period") or 1; 0 where there is none.
double quota_at(const std::string& folder) {
  std::string quota;
  double period = 0;
  if (std::ifstream file(folder + "/cpu.max"); file >> quota >> period && quota != "max" && period > 0)
    return std::atof(quota.c_str()) / period;
  double micros = 0;
  std::ifstream old_quota(folder + "/cpu.cfs_quota_us"), old_period(folder + "/cpu.cfs_period_us");
  if (old_quota >> micros && old_period >> period && micros > 0 && period > 0) return micros / period;
  return 0;
}

// The tightest limit on the way from this process's group up to the root.
double cgroup_quota() {
  double tightest = 0;
  const auto consider = [&](const std::string& folder) {
    const double quota = quota_at(folder);
    if (quota > 0 && (tightest == 0 || quota < tightest)) tightest = quota;
  };
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (!controllers.empty() && controllers.find("cpu") == std::string::npos) continue;
    const std::string root = controllers.empty() ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu";
    for (std::string path = line.substr(second + 1); path.size() > 1; path = path.substr(0, path.rfind('/')))
      consider(root + path);
    consider(root);
  }
  return tightest;
}

// The new value of `word` once it is no longer `old`: spins for about 20 microseconds, then sleeps.
template <class T>
T wait_for_change(const std::atomic<T>& word, T old) {
  for (int spin = 0; spin < 1000; ++spin) {
    const T now = word.load(std::memory_order_acquire);
    if (now != old) return now;
#ifdef GEMLET_X86
    __builtin_ia32_pause();
#elif defined(GEMLET_AARCH64)
    __asm__ volatile("yield");
#endif
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

}  // namespace

CpuBudget cpu_budget() {
  CpuBudget budget;
  budget.online = std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
  cpu_set_t set;
  budget.affinity = ::sched_getaffinity(0, sizeof set, &set) == 0 ? std::max(1, CPU_COUNT(&set)) : budget.online;
  budget.quota = cgroup_quota();
  budget.threads = budget.affinity;
  if (budget.quota > 0)
    budget.threads = std::clamp(static_cast<int>(std::floor(budget.quota + 0.01)), 1, budget.affinity);
  if (const char* forced = std::getenv("GEMLET_THREADS"); forced != nullptr && *forced != '\0') {
    char* end = nullptr;
    const long wanted = std::strtol(forced, &end, 10);
    if (*end != '\0' || wanted < 1 || wanted > kMostThreads)
      throw BadArgument(cat("GEMLET_THREADS: expected a number from 1 to ", kMostThreads, ", got '", forced, "'"));
    budget.environment = static_cast<int>(wanted);
    budget.threads = budget.environment;
  }
  return budget;
}

int choose_threads(int wanted) {
  if (wanted < 0 || wanted > kMostThreads)
    throw BadArgument(cat("threads: expected 1 to ", kMostThreads, ", or 0 for all, got ", wanted));
  return wanted > 0 ? wanted : cpu_budget().threads;
}

void Team::region_erased(void (*call)(const void*), const void* body) const {
  if (threads_ == 1 || open_) {
    call(body);
    return;
  }
  open_ = true;
  closing_ = false;
  std::exception_ptr failure;
  const uint32_t before = round_.load(std::memory_order_relaxed);
#pragma omp parallel num_threads(threads_)
  {
    if (omp_get_thread_num() == 0) {
      active_ = omp_get_num_threads();
      try {
        call(body);
      } catch (...) {
        failure = std::current_exception();
      }
      close_region();
    } else {
      serve(omp_get_thread_num(), before);
    }
  }
  open_ = false;
  if (failure) std::rethrow_exception(failure);
}

void Team::close_region() const {
  closing_.store(true, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
}

// A worker: wait for a new round, help with it, say so, until the region closes. Rounds cannot be missed: the next one is
// published only after every worker has left the last.
void Team::serve(int worker, uint32_t seen) const {
  for (;;) {
    seen = wait_for_change(round_, seen);
    if (closing_.load(std::memory_order_relaxed)) return;
    work_on(worker);
    busy_.fetch_sub(1, std::memory_order_release);
    busy_.notify_one();
  }
}

void Team::work_on(int worker) const {
  try {
    for (int64_t i = next_.fetch_add(1, std::memory_order_relaxed); i < count_;
         i = next_.fetch_add(1, std::memory_order_relaxed))
      call_(work_, i, worker);
  } catch (...) {
    const std::lock_guard<std::mutex> lock(failure_mutex_);
    if (!failure_) failure_ = std::current_exception();
    next_.store(count_, std::memory_order_relaxed);
  }
}

void Team::run_erased(int64_t count, Erased call, const void* work) const {
  if (threads_ == 1 || count <= 1) {
    for (int64_t i = 0; i < count; ++i) call(work, i, 0);
    return;
  }
  if (!open_) {
    region([&] { run_erased(count, call, work); });
    return;
  }
  call_ = call, work_ = work, count_ = count;
  next_.store(0, std::memory_order_relaxed);
  busy_.store(active_ - 1, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  round_.notify_all();
  work_on(0);
  for (int left = busy_.load(std::memory_order_acquire); left != 0;) left = wait_for_change(busy_, left);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

}  // namespace gemlet
