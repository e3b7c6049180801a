// A capsule under the array holds a share of its pages.
#include "bind/kept_rows.h"

#include <cstring>

#include "bind/bind.h"
#include "core/own_pages.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

constexpr const char* kOwner = "gemlet.kept_rows";
constexpr int64_t kMostFloats = int64_t{1} << 40;
using Pages = std::shared_ptr<std::byte>;

bool is_kept(const py::object& rows) {
  return py::isinstance<In<float>>(rows) && shared_rows(py::reinterpret_borrow<In<float>>(rows)) != nullptr;
}

}  // namespace

py::array_t<float> kept_rows(int64_t n, int64_t width) {
  if (n < 0 || width < 0 || (width > 0 && n > kMostFloats / width))
    throw BadArgument(cat("kept_rows: expected a shape that memory has room for, got (", n, ", ", width, ")"));
  auto pages = std::make_unique<Pages>(own_pages(static_cast<size_t>(n * width) * sizeof(float)));
  auto* first = reinterpret_cast<float*>(pages->get());
  const py::capsule owner(pages.get(), kOwner, [](void* p) { delete static_cast<Pages*>(p); });
  pages.release();  // NOLINT: the capsule has it
  return py::array_t<float>({n, width}, first, owner);
}

std::shared_ptr<const float> shared_rows(const In<float>& rows) {
  py::handle under = rows;
  while (under && py::isinstance<py::array>(under)) {  // a part of an array stands on the whole of it
    const auto array = py::reinterpret_borrow<py::array>(under);
    if (array.writeable()) return nullptr;
    under = array.base();
  }
  if (!under || !py::isinstance<py::capsule>(under)) return nullptr;
  const auto owner = py::reinterpret_borrow<py::capsule>(under);
  if (owner.name() == nullptr || std::strcmp(owner.name(), kOwner) != 0) return nullptr;
  return {*owner.get_pointer<Pages>(), rows.data()};
}

void register_kept_rows(py::module_& m) {
  m.def("kept_rows", &kept_rows, py::arg("n"), py::arg("width"));
  m.def("is_kept", &is_kept, py::arg("rows"));
}

}  // namespace gemlet::bind
