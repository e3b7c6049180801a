// Threads: how many this process may use, and the one parallel loop of the engine (the only OpenMP pragma is behind it).
// The work of an index never depends on which thread runs it, so results are the same for any thread count.
#pragma once

#include <cstdint>
#include <string>

namespace gemlet {

struct CpuBudget {
  int online = 1;             // processors the system has
  int affinity = 1;           // processors this process may run on
  double quota = 0;           // processors the control group grants; 0: no limit
  int environment = 0;        // GEMLET_THREADS; 0: not set
  int threads = 1;            // what follows from the above
};

// Throws BadArgument if GEMLET_THREADS is no positive number.
CpuBudget cpu_budget();

class Team {
 public:
  explicit Team(int threads) : threads_(threads < 1 ? 1 : threads) {}
  int threads() const { return threads_; }

  // work(index, worker) for every index in [0, count), each once, handed out in order; worker < threads().
  // The first exception is rethrown here after all workers have stopped.
  template <class Work>
  void run(int64_t count, const Work& work) const {
    run_erased(
        count, [](const void* w, int64_t index, int worker) { (*static_cast<const Work*>(w))(index, worker); }, &work);
  }

 private:
  using Erased = void (*)(const void* work, int64_t index, int worker);
  void run_erased(int64_t count, Erased call, const void* work) const;
  int threads_;
};

}  // namespace gemlet
