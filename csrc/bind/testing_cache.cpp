// _core.testing.fill_cache: a long sequence that nobody had to read, for measuring memory and speed with a full cache.
#include <pybind11/stl.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "bind/bind.h"
#include "bind/token_ids.h"
#include "bind/wait.h"
#include "engine/engine.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

// Stores random keys and values for every id and keeps the sequence as one that was read: a prompt that begins with these
// ids goes on from here.
class FillJob final : public engine::Job {
 public:
  FillJob(engine::Engine& engine, std::vector<int32_t> ids)
      : engine_(engine), ids_(std::move(ids)), cache_(engine_.new_cache()) {
    engine_.check_ids(ids_);
  }

 private:
  bool step() override {
    const auto total = static_cast<int64_t>(ids_.size());
    const int64_t count = std::min(engine_.block(), total - cache_.length());
    const std::vector<model::LayerConfig>& layers = engine_.decoder().config().layers;
    cache_.extend(count);
    engine_.on().team.region([&] {
      for (size_t i = 0; i < layers.size(); ++i) {
        if (layers[i].kv_source != static_cast<int64_t>(i)) continue;
        const int64_t width = layers[i].kv_heads * layers[i].channels;
        const Rows<float> k = k_.rows(count, width), v = v_.rows(count, width);
        randomise(k), randomise(v);
        cache_.store(engine_.on(), i, k, v);
      }
    });
    cache_.commit(count);
    if (cache_.length() < total) return false;
    engine_.prefixes().add(std::move(ids_), cache_);
    return true;
  }

  // About as large as normed values are.
  void randomise(Rows<float> rows) {
    for (int64_t i = 0; i < rows.rows * rows.cols; ++i) {
      bits_ = bits_ * 6364136223846793005U + 1442695040888963407U;
      rows.data[i] = (static_cast<float>(bits_ >> 40U) * 0x1.0p-24F - 0.5F) * 3.4F;
    }
  }

  engine::Engine& engine_;
  std::vector<int32_t> ids_;
  model::KvCache cache_;
  Buffer<float> k_, v_;
  uint64_t bits_ = 1;
};

void fill_cache(const std::shared_ptr<engine::Engine>& e, const py::object& ids) {
  const auto job = std::make_shared<FillJob>(*e, ids_from(ids));
  e->scheduler().submit(job);
  wait_for(*job);
}

}  // namespace

void register_testing_cache(py::module_& testing) {
  testing.def("fill_cache", &fill_cache, py::arg("model"), py::arg("ids"),
              "Keeps a sequence with random keys and values as if it had been read.");
}

}  // namespace gemlet::bind
