// Private access to long contexts: a cache filled without running the model, and decode steps behind it, timed.
#include <chrono>
#include <random>

#include "bind/array.h"
#include "bind/bind.h"
#include "bind/wait.h"
#include "engine/engine.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace gemlet::bind {
namespace {

constexpr int64_t kFillTokens = 512;

// Fills a cache with keys and values of unit root mean square, then runs tokens one by one.
class FilledJob final : public engine::Job {
 public:
  FilledJob(engine::Engine& engine, int64_t tokens, int64_t steps, uint32_t seed)
      : engine_(engine), tokens_(tokens), steps_(steps), random_(seed), cache_(engine.new_cache()) {
    if (tokens < 0 || steps < 1 || tokens + steps > engine.context())
      throw BadArgument(cat("tokens, steps: expected at least 0 and 1, and at most ", engine.context(),
                            " together, got ", tokens, " and ", steps));
    std::normal_distribution<float> normal;
    for (float& f : pool_) f = normal(random_);
  }

  std::vector<double> seconds;
  std::vector<float> logits;  // of the last step
  size_t bytes = 0;           // of the cache at the end

  // Bytes of keys and values that the last step read: in every layer, also those that share.
  double bytes_read() const {
    const model::Config& c = engine_.decoder().config();
    double total = 0;
    for (const model::LayerConfig& l : c.layers) {
      const ops::KvPages kv = cache_.pages(static_cast<size_t>(l.kv_source));
      const int64_t keys = l.sliding ? std::min(cache_.length(), c.window) : cache_.length();
      total += 2.0 * static_cast<double>(keys * kv.kv_heads) *
               static_cast<double>(ops::head_bytes(kv.type, kv.channels)) / static_cast<double>(kernels::kPageKeys);
    }
    return total;
  }

 private:
  bool step() override {
    if (cache_.length() < tokens_) {
      fill(std::min(kFillTokens, tokens_ - cache_.length()));
      return false;
    }
    const auto start = std::chrono::steady_clock::now();
    const auto id = static_cast<int32_t>(random_() % static_cast<uint32_t>(engine_.decoder().config().vocabulary));
    logits.resize(static_cast<size_t>(engine_.decoder().config().vocabulary));
    engine_.on().team.region([&] {
      const Rows<const float> h = engine_.decoder().forward(engine_.on(), {{&cache_, &id, 1, {0}}}, engine_.state());
      engine_.decoder().head(engine_.on(), h, {logits.data(), 1, static_cast<int64_t>(logits.size())}, engine_.state());
    });
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    engine_.note_scratch();
    bytes = cache_.bytes();
    return static_cast<int64_t>(seconds.size()) == steps_;
  }

  void fill(int64_t count) {
    const model::Config& c = engine_.decoder().config();
    cache_.extend(count);
    for (size_t i = 0; i < c.layers.size(); ++i) {
      const model::LayerConfig& l = c.layers[i];
      if (l.kv_source != static_cast<int64_t>(i)) continue;
      if (l.sliding && cache_.length() + 2 * kFillTokens + c.window < tokens_) continue;  // nobody will see them
      const int64_t columns = l.kv_heads * l.channels;
      for (Buffer<float>* rows : {&k_, &v_})
        for (int64_t t = 0; t < count; ++t)
          for (int64_t at = 0; at < columns; at += kPiece)
            std::copy_n(pool_.data() + random_() % (pool_.size() - kPiece), std::min(kPiece, columns - at),
                        rows->reserve(count * columns) + t * columns + at);
      cache_.store(engine_.on(), i, k_.rows(count, columns), v_.rows(count, columns));
    }
    cache_.commit(count);
  }

  static constexpr int64_t kPiece = 64;  // channels that are copied together
  engine::Engine& engine_;
  int64_t tokens_, steps_;
  std::mt19937 random_;
  std::vector<float> pool_ = std::vector<float>(1 << 16);
  Buffer<float> k_, v_;
  model::KvCache cache_;
};

py::dict decode_filled(const std::shared_ptr<engine::Engine>& e, int64_t tokens, int64_t steps, uint32_t seed) {
  const auto job = std::make_shared<FilledJob>(*e, tokens, steps, seed);
  e->scheduler().submit(job);
  wait_for(*job);
  py::dict d;
  d["seconds"] = job->seconds, d["cache_bytes"] = job->bytes, d["bytes_read"] = job->bytes_read();
  py::array_t<float> logits = out<float>({static_cast<int64_t>(job->logits.size())});
  std::copy(job->logits.begin(), job->logits.end(), logits.mutable_data());
  d["logits"] = logits;
  return d;
}

}  // namespace

void register_testing_cache(py::module_& m) {
  m.def(
      "decode_filled", &decode_filled, py::arg("model"), py::arg("tokens"), py::arg("steps") = 1, py::arg("seed") = 0,
      "Decode steps behind a cache of that many random keys and values: seconds of each, the last step's logits, bytes "
      "of the cache, and bytes of it that the last step read.");
}

}  // namespace gemlet::bind
