// _core.testing: sizes and the resize of pictures by themselves.
#include "bind/array.h"
#include "bind/bind.h"
#include "media/image.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

py::tuple target_size(int64_t height, int64_t width, int64_t tokens, int64_t side) {
  const media::ImageSize to = media::target_size({height, width}, tokens, side);
  return py::make_tuple(to.height, to.width);
}

// pixels (H, W, 3) -> (height, width, 3)
py::array_t<uint8_t> resize(const In<uint8_t>& pixels, int64_t height, int64_t width, int threads) {
  expect_dims(pixels, 3, "pixels");
  if (pixels.shape(2) != 3) throw BadArgument("pixels: expected (H, W, 3)");
  const Team team(threads);
  py::array_t<uint8_t> y = out<uint8_t>({height, width, 3});
  media::resize(team, {pixels.data(), {pixels.shape(0), pixels.shape(1)}, pixels.shape(1) * 3},
                {y.mutable_data(), {height, width}, width * 3});
  return y;
}

}  // namespace

void register_testing_image(py::module_& m) {
  m.def("target_size", &target_size, py::arg("height"), py::arg("width"), py::arg("tokens"), py::arg("side") = 48);
  m.def(
      "smallest_budget",
      [](int64_t height, int64_t width, int64_t side) { return media::smallest_budget({height, width}, side); },
      py::arg("height"), py::arg("width"), py::arg("side") = 48);
  m.def("resize", &resize, py::arg("pixels"), py::arg("height"), py::arg("width"), py::arg("threads") = 1);
}

}  // namespace gemlet::bind
