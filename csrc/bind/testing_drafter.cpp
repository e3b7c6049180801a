// _core.testing: a drafter beside a model, step by step; and prompt look-up and the choice of how many drafts by themselves.
#include <pybind11/stl.h>

#include <algorithm>
#include <numeric>

#include "bind/array.h"
#include "bind/bind.h"
#include "bind/token_ids.h"
#include "bind/wait.h"
#include "engine/draft_pace.h"
#include "engine/engine.h"
#include "engine/prompt_lookup.h"
#include "model/checkpoint_assistant.h"
#include "model/drafter.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

// Reads all ids but the last, and drafts `steps` times after the last one.
class DraftJob final : public engine::Job {
 public:
  DraftJob(engine::Engine& engine, const std::string& path, std::vector<int32_t> ids, int64_t steps, float* logits,
           float* states)
      : engine_(engine),
        drafter_(model::open_assistant(path), engine.decoder()),
        ids_(std::move(ids)),
        steps_(steps),
        logits_(logits),
        states_(states) {
    if (ids_.size() < 2) throw BadArgument("ids: expected at least two");
    engine_.check_ids(ids_);
  }

 private:
  bool step() override {
    engine_.on().team.region([&] { run(); });
    return true;
  }

  void run() {
    const int64_t v = engine_.decoder().config().vocabulary, d = engine_.decoder().config().width;
    const auto count = static_cast<int64_t>(ids_.size()) - 1;
    model::KvCache cache = engine_.new_cache();
    const Rows<const float> h =
        engine_.decoder().forward(engine_.on(), {{&cache, ids_.data(), count, {count - 1}}}, engine_.state());
    std::vector<float> state(h.row(0), h.row(0) + d);
    int32_t id = ids_.back();
    drafter_.place(engine_.on(), cache, scratch_);
    for (int64_t i = 0; i < steps_; ++i) {
      drafter_.head(engine_.on(), drafter_.step(engine_.on(), id, state.data(), scratch_), logits_ + i * v, scratch_);
      std::copy(state.begin(), state.end(), states_ + i * d);
      id = static_cast<int32_t>(std::max_element(logits_ + i * v, logits_ + (i + 1) * v) - (logits_ + i * v));
    }
  }

  engine::Engine& engine_;
  model::Drafter drafter_;
  model::State scratch_;
  std::vector<int32_t> ids_;
  int64_t steps_;
  float *logits_, *states_;
};

// (logits (steps, V), states (steps, D) that each step hands to the next)
py::tuple draft(const std::shared_ptr<engine::Engine>& e, const std::string& path, const py::object& ids,
                int64_t steps) {
  py::array_t<float> logits = out<float>({steps, e->decoder().config().vocabulary});
  py::array_t<float> states = out<float>({steps, e->decoder().config().width});
  auto job = std::make_shared<DraftJob>(*e, path, ids_from(ids), steps, logits.mutable_data(), states.mutable_data());
  e->scheduler().submit(job);
  wait_for(*job);
  return py::make_tuple(logits, states);
}

}  // namespace

void register_testing_drafter(py::module_& m) {
  m.def("draft", &draft, py::arg("model"), py::arg("path"), py::arg("ids"), py::arg("steps"));
  using engine::PromptLookup;
  py::class_<PromptLookup>(m, "PromptLookup")
      .def(py::init<>())
      .def("add", &PromptLookup::add, py::arg("id"))
      .def(
          "find",
          [](const PromptLookup& lookup, int64_t most) {
            const PromptLookup::Match match = lookup.find(most);
            return py::make_tuple(match.ids, match.length);
          },
          py::arg("most"));
  using engine::DraftPace;
  py::class_<DraftPace>(m, "DraftPace")
      .def(py::init<int64_t>(), py::arg("fixed") = -1)
      .def("choose", &DraftPace::choose, py::arg("offered"), py::arg("kind"))
      .def("took", &DraftPace::took, py::arg("drafted"), py::arg("seconds"))
      .def("judged", &DraftPace::judged, py::arg("kind"), py::arg("drafted"), py::arg("accepted"));
}

}  // namespace gemlet::bind
