// _core.testing: the sampler, its random numbers and its exp and log, for tests and benchmarks only.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <optional>

#include "bind/bind.h"
#include "core/error.h"
#include "sampling/fixed_math.h"
#include "sampling/sampler.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using sampling::Choice;
using sampling::Options;
using sampling::RandomState;
using sampling::Sampler;
using Floats = py::array_t<float, py::array::c_style>;
using Doubles = py::array_t<double, py::array::c_style>;
using Words = py::array_t<uint32_t, py::array::c_style>;

// The sampler knows no lengths of what it is given; the caller from Python does.
struct TestSampler {
  Sampler sampler;
  int64_t vocabulary;

  py::tuple sample(const Floats& logits, const std::optional<Words>& mask) {
    if (logits.ndim() != 1 || logits.size() != vocabulary) {
      throw BadArgument(cat("logits: expected shape (", vocabulary, ",), got ", logits.size(), " values"));
    }
    if (mask && mask->size() != (vocabulary + 31) / 32) {
      throw BadArgument(cat("mask: expected ", (vocabulary + 31) / 32, " words, got ", mask->size()));
    }
    const Choice choice = sampler.sample(logits.data(), mask ? mask->data() : nullptr);
    py::list top;
    for (const auto& [id, logprob] : choice.top) top.append(py::make_tuple(id, logprob));
    return py::make_tuple(choice.id, choice.logprob, top);
  }
};

TestSampler make(int64_t vocabulary, float temperature, int32_t top_k, float top_p, float min_p, float repeat_penalty,
                 float presence_penalty, float frequency_penalty, int32_t penalty_window,
                 std::vector<std::pair<int32_t, float>> logit_bias, uint64_t seed, int32_t logprobs) {
  Options options{
      temperature,           top_k, top_p,   min_p, repeat_penalty, presence_penalty, frequency_penalty, penalty_window,
      std::move(logit_bias), seed,  logprobs};
  return {Sampler(std::move(options), vocabulary), vocabulary};
}

template <double (*function)(double)>
Doubles map(const Doubles& x) {
  Doubles out(x.size());
  for (py::ssize_t i = 0; i < x.size(); ++i) out.mutable_data()[i] = function(x.data()[i]);
  return out;
}

}  // namespace

void register_testing_sampling(py::module_& testing) {
  const Options d;
  py::class_<TestSampler>(testing, "Sampler")
      .def(py::init(&make), py::arg("vocabulary"), py::kw_only(), py::arg("temperature") = d.temperature,
           py::arg("top_k") = d.top_k, py::arg("top_p") = d.top_p, py::arg("min_p") = d.min_p,
           py::arg("repeat_penalty") = d.repeat_penalty, py::arg("presence_penalty") = d.presence_penalty,
           py::arg("frequency_penalty") = d.frequency_penalty, py::arg("penalty_window") = d.penalty_window,
           py::arg("logit_bias") = d.logit_bias, py::arg("seed") = d.seed, py::arg("logprobs") = d.logprobs)
      .def("see_prompt",
           [](TestSampler& self, const std::vector<int32_t>& ids) { self.sampler.see_prompt(ids.data(), ids.size()); })
      .def("sample", &TestSampler::sample, py::arg("logits"), py::arg("mask") = py::none())
      .def("state",
           [](const TestSampler& self) {
             return py::make_tuple(self.sampler.state().seed, self.sampler.state().counter);
           })
      .def("restore", [](TestSampler& self, uint64_t seed, uint64_t counter) {
        self.sampler.restore(RandomState{seed, counter});
      });
  testing.def("uniform", [](uint64_t seed, uint64_t counter) { return RandomState{seed, counter}.uniform(); });
  testing.def("fixed_exp", &map<static_cast<double (*)(double)>(sampling::fixed_exp)>);
  testing.def("fixed_log", &map<sampling::fixed_log>);
}

}  // namespace gemlet::bind
