// _core.Whisper: sound to what was heard of it, that to token ids. Names of tokens and options are Python's.
#include "engine/whisper.h"

#include <pybind11/stl.h>

#include <cmath>

#include "bind/array.h"
#include "bind/bind.h"
#include "bind/token_ids.h"
#include "bind/wait.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using engine::Whisper;

// Holds its engine, so that what it heard can always be decoded.
struct Heard {
  std::shared_ptr<Whisper> whisper;
  std::shared_ptr<const model::Heard> heard;
};

std::shared_ptr<Whisper> open(const std::string& path, int threads, const std::string& compute) {
  const py::gil_scoped_release released;
  return {new Whisper(path, threads, compute), [](const Whisper* w) {
            if (PyGILState_Check() == 0) {
              delete w;
              return;
            }
            const py::gil_scoped_release free;
            delete w;
          }};
}

py::dict info(const Whisper& w) {
  const model::WhisperConfig& c = w.model().config();
  py::dict d;
  d["path"] = w.model().file().path(), d["format"] = w.model().file().format();
  d["weights"] = w.model().file().weight_type(), d["compute"] = w.compute();
  d["mels"] = c.mels, d["width"] = c.width, d["places"] = c.places, d["positions"] = c.positions;
  d["encoder_layers"] = c.encoder_layers, d["encoder_heads"] = c.encoder_heads;
  d["decoder_layers"] = c.decoder_layers, d["decoder_heads"] = c.decoder_heads;
  d["vocab_size"] = c.vocabulary, d["parameters"] = w.model().weights().parameters;
  d["threads"] = w.threads(), d["isa"] = w.kernels().name;
  size_t file_bytes = 0;
  for (const auto& file : w.model().file().files()) file_bytes += file->size();
  d["file_bytes"] = file_bytes;
  return d;
}

void run(Whisper& w, const std::shared_ptr<engine::Job>& job) {
  w.scheduler().submit(job);
  wait_for(*job);
}

Heard encode(const std::shared_ptr<Whisper>& w, const In<float>& samples, int64_t frames, bool blank) {
  expect_dims(samples, 1, "samples");
  for (int64_t i = 0; i < samples.size(); ++i)
    if (!std::isfinite(samples.data()[i])) throw BadArgument(cat("samples[", i, "]: expected a finite number"));
  const auto job = std::make_shared<engine::WhisperHearJob>(*w, samples.data(), samples.size(), frames, blank);
  run(*w, job);
  return {w, job->heard()};
}

py::array_t<float> features(const Heard& heard) {
  const model::WhisperConfig& c = heard.whisper->model().config();
  const int64_t places = heard.heard->places;
  py::array_t<float> y = out<float>({places, c.width});
  const float* from = heard.heard->features.data();
  std::copy(from, from + places * c.width, y.mutable_data());
  return y;
}

void expect_own(const Heard& heard, const std::shared_ptr<Whisper>& w) {
  if (heard.whisper != w) throw BadArgument("encoded: it was made by another model; encode the sound with this one");
}

py::array_t<float> logits(const std::shared_ptr<Whisper>& w, const Heard& heard, const py::object& tokens) {
  expect_own(heard, w);
  std::vector<int32_t> ids = ids_from(tokens);
  const auto count = static_cast<int64_t>(ids.size());
  const model::WhisperConfig& c = w->model().config();
  if (count > c.positions)
    throw ContextOverflow(cat("whisper: ", count, " tokens do not fit the model's ", c.positions));
  py::array_t<float> y = out<float>({count, c.vocabulary});
  run(*w, std::make_shared<engine::WhisperLogitsJob>(*w, heard.heard, std::move(ids), y.mutable_data()));
  return y;
}

// -> (tokens, log probability, probability that nobody speaks). `given`: how many of the prompt's last tokens are the
// beginning of the text.
py::tuple decode(const std::shared_ptr<Whisper>& w, const Heard& heard, const std::vector<int32_t>& prompt,
                 int64_t start, int32_t no_speech, int64_t given, engine::WhisperOptions options) {
  expect_own(heard, w);
  if (given < 0 || given > static_cast<int64_t>(prompt.size())) throw BadArgument(cat("given: no ", given, " tokens"));
  options.given.assign(prompt.end() - given, prompt.end());
  const auto job =
      std::make_shared<engine::WhisperSpeakJob>(*w, heard.heard, prompt, start, no_speech, std::move(options));
  run(*w, job);
  return py::make_tuple(py::tuple(py::cast(job->text().tokens)), job->text().log_probability,
                        job->no_speech_probability());
}

}  // namespace

void register_whisper(py::module_& m) {
  using engine::WhisperOptions;
  py::class_<Heard>(m, "WhisperHeard", "What a model heard in a window.").def("features", &features);
  py::class_<WhisperOptions>(m, "WhisperOptions", "How a text is searched for.")
      .def(
          py::init([](int64_t beams, double patience, double length_penalty, double temperature, uint64_t seed,
                      int64_t most_tokens, int32_t end, int32_t no_timestamps, int32_t first_timestamp, bool timestamps,
                      int64_t latest_start, std::vector<int32_t> never, std::vector<int32_t> not_first) {
            return WhisperOptions{
                {end, no_timestamps, first_timestamp, timestamps, latest_start, std::move(never), std::move(not_first)},
                beams,
                patience,
                length_penalty,
                temperature,
                seed,
                most_tokens,
                {}};
          }),
          py::kw_only(), py::arg("beams"), py::arg("patience"), py::arg("length_penalty"), py::arg("temperature"),
          py::arg("seed"), py::arg("most_tokens"), py::arg("end"), py::arg("no_timestamps"), py::arg("first_timestamp"),
          py::arg("timestamps"), py::arg("latest_start"), py::arg("never"), py::arg("not_first"));
  py::class_<Whisper, std::shared_ptr<Whisper>>(m, "Whisper", "A Whisper model.")
      .def(py::init(&open), py::arg("path"), py::arg("threads") = 0, py::arg("compute") = "auto")
      .def_property_readonly("info", &info)
      .def("encode", &encode, py::arg("samples"), py::arg("frames"), py::arg("blank"))
      .def("logits", &logits, py::arg("heard"), py::arg("tokens"))
      .def("decode", &decode, py::arg("heard"), py::arg("prompt"), py::arg("start"), py::arg("no_speech"),
           py::arg("given"), py::arg("options"))
      .def("cancel", [](Whisper& w) { w.scheduler().cancel_all(); })
      .def("close", [](Whisper& w) {
        const py::gil_scoped_release released;
        w.scheduler().close();
      });
}

}  // namespace gemlet::bind
