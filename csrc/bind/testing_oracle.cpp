// The plain versions of linear and attention, for tests.
#include "bind/array.h"
#include "bind/bind.h"
#include "ops/oracle.h"

namespace py = pybind11;

namespace gemlet::bind {
namespace {

py::array_t<float> linear(const In<uint8_t>& w, const std::string& type, const In<float>& x) {
  const Rows<const float> rows = rows_of(x, "x");
  expect_dims(w, 2, "w");
  const codec::TypeInfo* info = codec::find(type);
  if (info == nullptr || info->decode == nullptr) throw BadArgument(cat("type: '", type, "' cannot be a weight"));
  const codec::Matrix matrix{w.data(), info->type, w.shape(0), rows.cols, codec::row_bytes(info->type, rows.cols)};
  if (static_cast<size_t>(w.shape(1)) != matrix.row_bytes)
    throw BadArgument(cat("w: expected ", matrix.row_bytes, " bytes a row, got ", w.shape(1)));
  py::array_t<float> y = out<float>({rows.rows, matrix.rows});
  ops::oracle::linear(matrix, rows, rows_of(y));
  return y;
}

py::array_t<float> attention(const In<float>& q, const In<float>& k, const In<float>& v, int64_t kv_heads,
                             const In<int64_t>& begin, const In<int64_t>& end, float scale) {
  const Rows<const float> queries = rows_of(q, "q"), keys = rows_of(k, "k"), values = rows_of(v, "v");
  for (int64_t t = 0; t < queries.rows; ++t)
    if (begin.size() != queries.rows || end.size() != queries.rows || begin.data()[t] < 0 ||
        begin.data()[t] >= end.data()[t] || end.data()[t] > keys.rows)
      throw BadArgument(cat("begin, end: row ", t, " sees no key, or one outside the ", keys.rows));
  py::array_t<float> y = out<float>({queries.rows, queries.cols});
  ops::oracle::attention(queries, keys, values, kv_heads, begin.data(), end.data(), scale, rows_of(y));
  return y;
}

}  // namespace

void register_testing_oracle(py::module_& m) {
  m.def("oracle_linear", &linear, py::arg("w"), py::arg("type"), py::arg("x"));
  m.def("oracle_attention", &attention, py::arg("q"), py::arg("k"), py::arg("v"), py::arg("kv_heads"), py::arg("begin"),
        py::arg("end"), py::arg("scale"));
}

}  // namespace gemlet::bind
