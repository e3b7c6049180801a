// gemlet._core.testing, the codec's part: blocks to float32 and back, and the parsers over bytes in memory.
#include <pybind11/numpy.h>

#include "bind/bind.h"
#include "codec/codec.h"
#include "core/error.h"
#include "formats/gguf.h"
#include "formats/safetensors.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using Bytes = py::array_t<uint8_t, py::array::c_style>;
using Floats = py::array_t<float, py::array::c_style>;

const codec::TypeInfo& type_of(const std::string& name) {
  const codec::TypeInfo* found = codec::find(name);
  if (found == nullptr) throw BadArgument(cat("codec: there is no type '", name, "'"));
  return *found;
}

// bytes (any shape, whole rows) -> float32 (rows, cols)
Floats decode(const std::string& type, const Bytes& bytes, int64_t cols) {
  const codec::TypeInfo& t = type_of(type);
  codec::Matrix m;
  m.data = bytes.data();
  m.type = t.type;
  m.cols = cols;
  m.row_bytes = codec::row_bytes(t.type, cols);
  const auto size = static_cast<size_t>(bytes.size());
  if (m.row_bytes == 0 || size % m.row_bytes != 0)
    throw BadArgument(cat("codec: expected whole rows of ", m.row_bytes, " bytes, got ", size));
  m.rows = static_cast<int64_t>(size / m.row_bytes);
  Floats out({m.rows, cols});
  for (int64_t r = 0; r < m.rows; ++r) codec::decode_row(m, r, out.mutable_data() + r * cols);
  return out;
}

// float32 (..., cols) -> uint8 (rows, row_bytes)
Bytes encode(const std::string& type, const Floats& x) {
  const codec::TypeInfo& t = type_of(type);
  if (t.encode == nullptr) throw BadArgument(cat("codec: ", t.name, " is never written"));
  if (x.ndim() == 0 || x.size() == 0) throw BadArgument("codec: expected one row or more");
  const int64_t cols = x.shape(x.ndim() - 1), rows = x.size() / cols;
  const size_t row_bytes = codec::row_bytes(t.type, cols);
  Bytes out({rows, static_cast<int64_t>(row_bytes)});
  t.encode(x.data(), rows * (cols / t.block), out.mutable_data());
  return out;
}

size_t parse_gguf(const py::bytes& bytes) {
  const std::string_view view = bytes;
  return formats::Gguf::parse(reinterpret_cast<const uint8_t*>(view.data()), view.size(), "memory").tensors().size();
}

size_t parse_safetensors(const py::bytes& bytes) {
  const std::string_view view = bytes;
  return formats::Safetensors::parse(reinterpret_cast<const uint8_t*>(view.data()), view.size(), "memory")
      .tensors()
      .size();
}

}  // namespace

void register_testing_codec(py::module_& testing) {
  testing.def("decode", &decode, py::arg("type"), py::arg("bytes"), py::arg("cols"));
  testing.def("encode", &encode, py::arg("type"), py::arg("x"));
  testing.def("parse_gguf", &parse_gguf, py::arg("bytes"));
  testing.def("parse_safetensors", &parse_safetensors, py::arg("bytes"));
}

}  // namespace gemlet::bind
