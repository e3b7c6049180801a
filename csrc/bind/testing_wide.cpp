// Private access to the towers' products and attention in 16 bits, by instruction set, for tests.
#include "bind/array.h"
#include "bind/bind.h"
#include "kernels/dispatch.h"
#include "ops/wide.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace gemlet::bind {
namespace {

// x (T, K) . w^T, w (N, K) as bytes of a type.
py::array_t<float> wide_linear(const std::string& isa, const In<uint8_t>& w, const std::string& type,
                               const In<float>& x, int threads) {
  expect_dims(w, 2, "w");
  const Rows<const float> rows = rows_of(x, "x");
  const codec::TypeInfo* info = codec::find(type);
  if (info == nullptr) throw BadArgument(cat("type: unknown '", type, "'"));
  const size_t row_bytes = codec::row_bytes(info->type, rows.cols);
  if (static_cast<size_t>(w.shape(1)) != row_bytes)
    throw BadArgument(cat("w: expected ", row_bytes, " bytes a row, got ", w.shape(1)));
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, false);
  ops::WideMatrix packed;
  packed.pack(on, {w.data(), info->type, w.shape(0), rows.cols, row_bytes});
  ops::WideInput scratch;
  py::array_t<float> y = out<float>({rows.rows, packed.rows()});
  ops::linear(on, rows, {{&packed, rows_of(y)}}, scratch);
  return y;
}

// q (T, H C) over all of k and v (N, H C); no value may be larger than `limit`.
py::array_t<float> wide_attention(const std::string& isa, const In<float>& q, const In<float>& k, const In<float>& v,
                                  int64_t heads, float scale, float limit, int threads) {
  const Rows<const float> queries = rows_of(q, "q"), keys = rows_of(k, "k"), values = rows_of(v, "v");
  if (heads < 1 || queries.cols % heads != 0 || keys.cols != queries.cols || values.cols != queries.cols ||
      values.rows != keys.rows)
    throw BadArgument("wide_attention: q, k and v do not fit each other");
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, false);
  const int64_t channels = queries.cols / heads;
  ops::WideKeys kv;
  kv.reserve(keys.rows, heads, channels, limit);
  for (int64_t j = 0; j < keys.rows; ++j)
    for (int64_t h = 0; h < heads; ++h)
      kv.store(on.kernels, j, h, keys.row(j) + h * channels, values.row(j) + h * channels);
  py::array_t<float> y = out<float>({queries.rows, queries.cols});
  ops::attention(on, queries, kv, scale, rows_of(y));
  return y;
}

// Scores (n) -> shares, their sum, and the largest score.
py::tuple weigh(const std::string& isa, const In<float>& scores) {
  if (scores.size() % 16 != 0) throw BadArgument("weigh: expected a multiple of 16 scores");
  py::array_t<int16_t> shares = out<int16_t>({scores.size()});
  float max = 0;
  const float sum = kernels::by_name(isa).weigh(scores.data(), scores.size(), shares.mutable_data(), &max);
  return py::make_tuple(shares, sum, max);
}

}  // namespace

void register_testing_wide(py::module_& m) {
  m.def("wide_linear", &wide_linear, py::arg("isa"), py::arg("w"), py::arg("type"), py::arg("x"),
        py::arg("threads") = 1);
  m.def("wide_attention", &wide_attention, py::arg("isa"), py::arg("q"), py::arg("k"), py::arg("v"), py::arg("heads"),
        py::arg("scale"), py::arg("limit"), py::arg("threads") = 1);
  m.def("weigh", &weigh, py::arg("isa"), py::arg("scores"));
}

}  // namespace gemlet::bind
