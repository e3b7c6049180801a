// _core.testing: log-mel frames by themselves.
#include "bind/array.h"
#include "bind/bind.h"
#include "media/mel.h"
#include "media/whisper_mel.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

// samples (n) -> (frames, 128), fed in pieces of `piece` samples; 0: all at once.
py::array_t<float> log_mel(const In<float>& samples, int64_t piece) {
  expect_dims(samples, 1, "samples");
  const Team team(2);
  const media::LogMel mel;
  media::MelStream stream(mel);
  std::vector<float> frames;
  const int64_t total = samples.size(), step = piece > 0 ? piece : std::max<int64_t>(total, 1);
  for (int64_t at = 0; at < total; at += step)
    stream.feed(team, samples.data() + at, std::min(step, total - at), frames);
  py::array_t<float> y = out<float>({static_cast<int64_t>(frames.size()) / media::kMelBands, media::kMelBands});
  std::copy(frames.begin(), frames.end(), y.mutable_data());
  return y;
}

// samples (n) -> (3000, bands)
py::array_t<float> whisper_mel(const In<float>& samples, int64_t bands) {
  expect_dims(samples, 1, "samples");
  const Team team(2);
  py::array_t<float> y = out<float>({media::kWhisperFrames, bands});
  media::WhisperMel(bands).frames(team, samples.data(), samples.size(), y.mutable_data());
  return y;
}

}  // namespace

void register_testing_sound(py::module_& m) {
  m.def("log_mel", &log_mel, py::arg("samples"), py::arg("piece") = 0);
  m.def("whisper_mel", &whisper_mel, py::arg("samples"), py::arg("bands"));
}

}  // namespace gemlet::bind
