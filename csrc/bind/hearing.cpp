// _core: what a model hears with, and sound as soft tokens.
#include "bind/array.h"
#include "bind/bind.h"
#include "bind/kept_rows.h"
#include "bind/wait.h"
#include "engine/hear.h"

#include <cmath>

#include <pybind11/stl.h>

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using engine::Engine;

// None for a model that does not hear.
py::object hearing(const Engine& e) {
  if (e.audio() == nullptr) return py::none();
  const model::AudioConfig& c = e.audio()->config();
  py::dict d;
  d["path"] = e.audio()->file().path(), d["format"] = e.audio()->file().format();
  d["encoder"] = c.encoder, d["layers"] = c.layers, d["width"] = c.width, d["heads"] = c.heads;
  d["parameters"] = e.audio()->weights().parameters;
  // Samples without which there is no token.
  d["least_samples"] = c.encoder ? media::kMelHop + 1 : int64_t{1};
  return d;
}

// Soft tokens of so many samples.
int64_t heard_tokens(const Engine& e, int64_t samples) {
  if (e.audio() == nullptr) throw BadArgument("sound: this model has no part that hears");
  const model::AudioConfig& c = e.audio()->config();
  return c.encoder ? (media::mel_frames(samples) + 3) / 4 : (samples + c.frame - 1) / c.frame;
}

// One sound in pieces. Holds its engine.
struct Ear {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<engine::Ear> ear;
};

Ear new_ear(const std::shared_ptr<Engine>& e, int64_t together) {
  return {e, std::make_shared<engine::Ear>(*e, together)};
}

// (n, D): the soft tokens that these 16 kHz samples complete.
py::array_t<float> feed(const Ear& ear, const In<float>& samples, bool last) {
  expect_dims(samples, 1, "samples");
  for (int64_t i = 0; i < samples.size(); ++i)
    if (!std::isfinite(samples.data()[i])) throw BadArgument(cat("samples[", i, "]: expected a finite number"));
  const auto job = std::make_shared<engine::HearJob>(*ear.engine, ear.ear, samples.data(), samples.size(), last);
  ear.engine->scheduler().submit(job);
  wait_for(*job);
  const int64_t width = ear.engine->decoder().config().width;
  py::array_t<float> y = kept_rows(static_cast<int64_t>(job->tokens().size()) / width, width);
  std::copy(job->tokens().begin(), job->tokens().end(), y.mutable_data());
  return y;
}

}  // namespace

void register_hearing(py::module_& m) {
  m.def("hearing", &hearing, py::arg("model"));
  m.def("heard_tokens", &heard_tokens, py::arg("model"), py::arg("samples"));
  py::class_<Ear>(m, "Ear")
      .def(py::init(&new_ear), py::arg("model"), py::arg("together") = 1)
      .def("feed", &feed, py::arg("samples"), py::arg("last") = false);
}

}  // namespace gemlet::bind
