// _core: what a model sees with, and pictures as soft tokens.
#include "bind/array.h"
#include "bind/bind.h"
#include "bind/kept_rows.h"
#include "bind/wait.h"
#include "engine/see.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using engine::Engine;

// None for a model that does not see.
py::object vision(const Engine& e) {
  if (e.vision() == nullptr) return py::none();
  const model::VisionConfig& c = e.vision()->config();
  py::dict d;
  d["path"] = e.vision()->file().path(), d["format"] = e.vision()->file().format();
  d["side"] = c.side(), d["layers"] = c.layers, d["width"] = c.width, d["heads"] = c.heads;
  d["parameters"] = e.vision()->weights().parameters;
  size_t bytes = 0;
  for (const auto& file : e.vision()->file().files()) bytes += file->size();
  d["file_bytes"] = bytes;
  return d;
}

struct Room {
  media::ImageSize size;
  int64_t budget, rows, columns;  // of soft tokens
};

Room room_of(const Engine& e, media::ImageSize from, int64_t tokens) {
  if (e.vision() == nullptr) throw BadArgument("picture: this model has no part that sees");
  const int64_t side = e.vision()->config().side();
  const int64_t budget = tokens > 0 ? tokens : media::smallest_budget(from, side);
  const media::ImageSize to = media::target_size(from, budget, side);
  return {to, budget, to.height / side, to.width / side};
}

// A picture that has its size already; that it is one of whole squares the tower sees to.
Room fitted_room(const Engine& e, media::ImageSize size, int64_t tokens) {
  if (e.vision() == nullptr) throw BadArgument("picture: this model has no part that sees");
  const int64_t side = e.vision()->config().side();
  return {size, tokens, size.height / side, size.width / side};
}

// Rows and columns of soft tokens that a picture of this size would have.
py::tuple seen_grid(const Engine& e, int64_t height, int64_t width, int64_t tokens) {
  const Room room = room_of(e, {height, width}, tokens);
  return py::make_tuple(room.rows, room.columns);
}

media::Pixels<const uint8_t> pixels_of(const In<uint8_t>& p) {
  expect_dims(p, 3, "picture");
  if (p.shape(2) != 3) throw BadArgument(cat("picture: expected (H, W, 3), got ", p.shape(2), " channels"));
  return {p.data(), {p.shape(0), p.shape(1)}, p.shape(1) * 3};
}

// A picture (H, W, 3) at the size that it is seen at.
py::array_t<uint8_t> fit(const std::shared_ptr<Engine>& e, const In<uint8_t>& picture, int64_t tokens) {
  const media::Pixels<const uint8_t> from = pixels_of(picture);
  const media::ImageSize size = room_of(*e, from.size, tokens).size;
  py::array_t<uint8_t> fitted = out<uint8_t>({size.height, size.width, 3});
  const media::Pixels<uint8_t> to{fitted.mutable_data(), size, size.width * 3};
  const auto job = std::make_shared<engine::FitJob>(*e, from, to);
  e->scheduler().submit(job);
  wait_for(*job);
  return fitted;
}

// Each picture (H, W, 3) as soft tokens (n, D), with the size (height, width) it was given. They go through together.
// fitted: they come from fit(), and keep their size.
py::list see(const std::shared_ptr<Engine>& e, const std::vector<In<uint8_t>>& pictures, int64_t tokens, bool fitted) {
  std::vector<engine::SeenPicture> seen;
  py::list out_list;
  for (const In<uint8_t>& p : pictures) {
    const media::Pixels<const uint8_t> from = pixels_of(p);
    const Room room = fitted ? fitted_room(*e, from.size, tokens) : room_of(*e, from.size, tokens);
    py::array_t<float> rows = kept_rows(room.rows * room.columns, e->decoder().config().width);
    seen.push_back({from, room.size, rows.mutable_data()});
    out_list.append(py::make_tuple(rows, py::make_tuple(room.size.height, room.size.width), room.budget));
  }
  if (seen.empty()) return out_list;
  const auto job = std::make_shared<engine::SeeJob>(*e, std::move(seen));
  e->scheduler().submit(job);
  wait_for(*job);
  return out_list;
}

}  // namespace

void register_vision(py::module_& m) {
  m.def("vision", &vision, py::arg("model"));
  m.def("seen_grid", &seen_grid, py::arg("model"), py::arg("height"), py::arg("width"), py::arg("tokens"));
  m.def("see", &see, py::arg("model"), py::arg("pictures"), py::arg("tokens"), py::arg("fitted") = false);
  m.def("fit", &fit, py::arg("model"), py::arg("picture"), py::arg("tokens"));
}

}  // namespace gemlet::bind
