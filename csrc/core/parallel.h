// Threads: how many this process may use, and the one parallel loop of the engine (the only OpenMP pragma is behind it).
// The work of an index never depends on which thread runs it, so results are the same for any thread count.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>

namespace gemlet {

struct CpuBudget {
  int online = 1;       // processors the system has
  int affinity = 1;     // processors this process may run on
  double quota = 0;     // processors the control group grants; 0: no limit
  int environment = 0;  // GEMLET_THREADS; 0: not set
  int threads = 1;      // what follows from the above
};

// Throws BadArgument if GEMLET_THREADS is no positive number.
CpuBudget cpu_budget();
// What a caller wishes for, or for 0 the budget's. Throws BadArgument outside 0 to 1024, and what cpu_budget() throws.
int choose_threads(int wanted);

// A team opens one parallel region for a whole step (a block of tokens) and hands loops to its workers inside it, so that
// the hundred loops of a step cost a handshake each, not a fork. Idle workers spin for some microseconds, then sleep.
// One thread at a time may use a team.
class Team {
 public:
  explicit Team(int threads) : threads_(threads < 1 ? 1 : threads) {}
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  int threads() const { return threads_; }

  // Runs body() on the calling thread with the workers ready. Calls of run() inside are parallel; nested regions join.
  template <class Body>
  void region(const Body& body) const {
    region_erased([](const void* b) { (*static_cast<const Body*>(b))(); }, &body);
  }

  // work(index, worker) for every index in [0, count), each once, handed out in order; worker < threads().
  // The first exception is rethrown here after all workers have stopped. Outside a region it opens one for itself.
  template <class Work>
  void run(int64_t count, const Work& work) const {
    run_erased(
        count, [](const void* w, int64_t index, int worker) { (*static_cast<const Work*>(w))(index, worker); }, &work);
  }

 private:
  using Erased = void (*)(const void* work, int64_t index, int worker);
  void region_erased(void (*call)(const void*), const void* body) const;
  void run_erased(int64_t count, Erased call, const void* work) const;
  void work_on(int worker) const;
  void serve(int worker, uint32_t seen) const;
  void close_region() const;

  const int threads_;
  // The loop being run: published by a new value of round_, finished when busy_ is zero.
  mutable Erased call_ = nullptr;
  mutable const void* work_ = nullptr;
  mutable int64_t count_ = 0;
  mutable bool open_ = false;
  mutable int active_ = 1;  // threads the region really has
  mutable std::exception_ptr failure_;
  mutable std::mutex failure_mutex_;
  alignas(64) mutable std::atomic<int64_t> next_{0};
  alignas(64) mutable std::atomic<uint32_t> round_{0};
  alignas(64) mutable std::atomic<int> busy_{0};
  mutable std::atomic<bool> closing_{false};
};

}  // namespace gemlet
