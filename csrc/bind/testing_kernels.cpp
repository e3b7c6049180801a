// Private access to the kernels of one instruction set, for tests (against the scalar twin) and micro-benchmarks.
#include <chrono>
#include <random>

#include "bind/array.h"
#include "bind/bind.h"
#include "kernels/dispatch.h"
#include "ops/ops.h"

#include <pybind11/stl.h>

namespace py = pybind11;

namespace gemlet::bind {
namespace {

using codec::Matrix;

Matrix matrix_of(const In<uint8_t>& w, const std::string& type, int64_t cols) {
  expect_dims(w, 2, "w");
  const codec::TypeInfo* info = codec::find(type);
  if (info == nullptr) throw BadArgument(cat("type: unknown '", type, "'"));
  const size_t row_bytes = codec::row_bytes(info->type, cols);
  if (static_cast<size_t>(w.shape(1)) != row_bytes)
    throw BadArgument(cat("w: expected ", row_bytes, " bytes a row, got ", w.shape(1)));
  return {w.data(), info->type, w.shape(0), cols, row_bytes};
}

// x (T, K) . w^T through ops::linear: the matrix-vector kernel for one row, panels for several.
py::array_t<float> linear(const std::string& isa, const In<uint8_t>& w, const std::string& type, const In<float>& x,
                          int threads, bool float_compute) {
  const Rows<const float> rows = rows_of(x, "x");
  const Matrix matrix = matrix_of(w, type, rows.cols);
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, float_compute);
  ops::Quantised scratch;
  py::array_t<float> y = out_at_line<float>({rows.rows, matrix.rows});
  ops::linear(on, rows, {{&matrix, rows_of(y)}}, scratch);
  return y;
}

// Rows `ids` of the same product, through ops::linear_rows.
py::array_t<float> linear_rows(const std::string& isa, const In<uint8_t>& w, const std::string& type,
                               const In<float>& x, const std::vector<int32_t>& ids, int threads, bool float_compute) {
  const Rows<const float> rows = rows_of(x, "x");
  const Matrix matrix = matrix_of(w, type, rows.cols);
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, float_compute);
  ops::Quantised scratch;
  py::array_t<float> y = out<float>({static_cast<int64_t>(ids.size())});
  ops::linear_rows(on, rows, matrix, ids, y.mutable_data(), scratch);
  return y;
}

py::tuple quantize(const std::string& isa, const In<float>& x) {
  const Rows<const float> rows = rows_of(x, "x");
  const Team team(1);
  ops::Context on(kernels::by_name(isa), team, false);
  ops::Quantised scratch;
  const kernels::QuantRows q = scratch.fill(on, rows);
  const int64_t b = q.blocks;
  return py::make_tuple(py::array_t<int8_t>({rows.rows, b * 32}, q.q), py::array_t<float>({rows.rows, b}, q.d),
                        py::array_t<int32_t>({rows.rows, b}, q.sum),
                        py::array_t<int16_t>({rows.rows, b, int64_t{2}, int64_t{2}}, q.minus32),
                        py::array_t<float>({rows.rows, b}, q.dsum));
}

// Row operations by name: rms_norm, add_rms_norm (a: x, b: w, c: the stream), layer_norm (a: x, b: w, c: b),
// gelu_erf (a, b: bias), gelu_mul and sigmoid_mul (a, b), rope (a, b: cos, c: sin),
// softcap and scale (a) by number.
py::array_t<float> row_operation(const std::string& isa, const std::string& name, const In<float>& a,
                                 const In<float>& b, const In<float>& c, float number) {
  const kernels::Table& k = kernels::by_name(isa);
  const int64_t n = a.size();
  const auto need = [&](const In<float>& v, int64_t size, const char* what) {
    if (v.size() != size) throw BadArgument(cat(name, ": ", what, " has ", v.size(), " elements, expected ", size));
  };
  py::array_t<float> y = out<float>({n});
  std::copy(a.data(), a.data() + n, y.mutable_data());
  float* p = y.mutable_data();
  if (name == "rms_norm") {
    if (b.size() > 0) need(b, n, "w");
    k.rms_norm(a.data(), b.size() > 0 ? b.data() : nullptr, number, n, p);
  } else if (name == "add_rms_norm") {
    need(b, n, "w"), need(c, n, "x");
    std::copy(c.data(), c.data() + n, p);
    k.add_rms_norm(a.data(), b.data(), number, n, p);
  } else if (name == "layer_norm") {
    need(b, n, "w"), need(c, n, "b");
    k.layer_norm(a.data(), b.data(), c.data(), number, n, p);
  } else if (name == "gelu_erf") {
    if (b.size() > 0) need(b, n, "bias");
    k.gelu_erf(b.size() > 0 ? b.data() : nullptr, n, p);
  } else if (name == "gelu_mul") {
    need(b, n, "up");
    k.gelu_mul(a.data(), b.data(), n, p);
  } else if (name == "sigmoid_mul") {
    need(b, n, "b");
    k.sigmoid_mul(a.data(), b.data(), n, p);
  } else if (name == "rope") {
    need(b, n / 2, "cos"), need(c, n / 2, "sin");
    k.rope(a.data(), b.data(), c.data(), n, p);
  } else if (name == "softcap") {
    k.softcap(number, n, p);
  } else if (name == "scale") {
    k.scale(number, n, p);
  } else {
    throw BadArgument(cat("row_operation: unknown '", name, "'"));
  }
  return y;
}

py::array_t<uint16_t> narrow_f16(const std::string& isa, const In<float>& x) {
  py::array_t<uint16_t> y = out<uint16_t>({x.size()});
  kernels::by_name(isa).narrow_f16(x.data(), x.size(), y.mutable_data());
  return y;
}

// type: F16 or BF16
py::array_t<float> widen(const std::string& isa, const std::string& type, const In<uint16_t>& x) {
  const kernels::Table& k = kernels::by_name(isa);
  py::array_t<float> y = out<float>({x.size()});
  (type == "F16" ? k.widen_f16 : k.widen_bf16)(x.data(), x.size(), y.mutable_data());
  return y;
}

float sum_exp(const std::string& isa, const In<float>& x, float max) {
  return kernels::by_name(isa).sum_exp(x.data(), x.size(), max);
}

// x (T, V), targets (T) -> log softmax(x row t)[targets[t]]
py::array_t<float> log_softmax_at(const std::string& isa, const In<float>& x, const In<int32_t>& targets, int threads) {
  const Rows<const float> rows = rows_of(x, "x");
  if (targets.size() != rows.rows) throw BadArgument(cat("targets: expected ", rows.rows, ", got ", targets.size()));
  for (int64_t t = 0; t < rows.rows; ++t)
    if (targets.data()[t] < 0 || targets.data()[t] >= rows.cols) throw BadArgument("targets: outside the row");
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, false);
  py::array_t<float> y = out<float>({rows.rows});
  ops::log_softmax_at(on, rows, targets.data(), y.mutable_data());
  return y;
}

// The loops behind the machine's limits: the checksum of the bytes, and how many operations so many steps are.
py::tuple streams(const std::string& isa, const In<uint8_t>& bytes, int64_t steps) {
  const kernels::Table& k = kernels::by_name(isa);
  return py::make_tuple(k.read_stream(bytes.data(), static_cast<size_t>(bytes.size())), k.int8_stream(steps));
}

// Seconds of the best of `repeats` runs of tokens x (rows, cols) in the given format, random weights.
double time_linear(const std::string& isa, const std::string& type, int64_t rows, int64_t cols, int64_t tokens,
                   int threads, int repeats) {
  const codec::TypeInfo* info = codec::find(type);
  if (info == nullptr) throw BadArgument(cat("type: unknown '", type, "'"));
  const size_t row_bytes = codec::row_bytes(info->type, cols);
  std::vector<uint8_t> bytes(row_bytes * static_cast<size_t>(rows));
  std::mt19937 random(1);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random() & 0x3F);  // keeps every binary16 scale finite
  const Matrix matrix{bytes.data(), info->type, rows, cols, row_bytes};
  Buffer<float> y;
  std::vector<float> x(static_cast<size_t>(tokens * cols));
  for (float& f : x) f = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, false);
  ops::Quantised scratch;
  double best = 1e9;
  const py::gil_scoped_release release;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    ops::linear(on, {x.data(), tokens, cols}, {{&matrix, y.rows(tokens, rows)}}, scratch);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

void register_testing_kernels(py::module_& m) {
  m.def("linear", &linear, py::arg("isa"), py::arg("w"), py::arg("type"), py::arg("x"), py::arg("threads") = 1,
        py::arg("float_compute") = false);
  m.def("linear_rows", &linear_rows, py::arg("isa"), py::arg("w"), py::arg("type"), py::arg("x"), py::arg("ids"),
        py::arg("threads") = 1, py::arg("float_compute") = false);
  m.def("quantize", &quantize, py::arg("isa"), py::arg("x"));
  m.def("row_operation", &row_operation, py::arg("isa"), py::arg("name"), py::arg("a"), py::arg("b"), py::arg("c"),
        py::arg("number") = 0.0F);
  m.def("narrow_f16", &narrow_f16, py::arg("isa"), py::arg("x"));
  m.def("widen", &widen, py::arg("isa"), py::arg("type"), py::arg("x"));
  m.def("sum_exp", &sum_exp, py::arg("isa"), py::arg("x"), py::arg("max"));
  m.def("log_softmax_at", &log_softmax_at, py::arg("isa"), py::arg("x"), py::arg("targets"), py::arg("threads") = 1);
  m.def("streams", &streams, py::arg("isa"), py::arg("bytes"), py::arg("steps"));
  m.def("time_linear", &time_linear, py::arg("isa"), py::arg("type"), py::arg("rows"), py::arg("cols"),
        py::arg("tokens"), py::arg("threads") = 1, py::arg("repeats") = 5);
}

}  // namespace gemlet::bind
