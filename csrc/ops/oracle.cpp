// By Eigen, the way the formulas are written.
#include "ops/oracle.h"

#include <Eigen/Core>

namespace gemlet::ops::oracle {
namespace {

using Dense = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Double = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Double widened(Rows<const float> x) {
  return Eigen::Map<const Dense, 0, Eigen::OuterStride<>>(x.data, x.rows, x.cols, Eigen::OuterStride<>(x.stride))
      .cast<double>();
}

}  // namespace

void linear(const codec::Matrix& w, Rows<const float> x, Rows<float> y) {
  Dense weights(w.rows, w.cols);
  for (int64_t r = 0; r < w.rows; ++r) codec::decode_row(w, r, weights.row(r).data());
  const Dense product = (widened(x) * weights.cast<double>().transpose()).cast<float>();
  for (int64_t t = 0; t < y.rows; ++t)
    for (int64_t r = 0; r < y.cols; ++r) y.row(t)[r] = product(t, r);
}

void attention(Rows<const float> q, Rows<const float> k, Rows<const float> v, int64_t kv_heads, const int64_t* begin,
               const int64_t* end, float scale, Rows<float> out) {
  const int64_t channels = k.cols / kv_heads, heads = q.cols / channels, group = heads / kv_heads;
  const Double queries = widened(q), keys = widened(k), values = widened(v);
  for (int64_t t = 0; t < q.rows; ++t) {
    const int64_t count = end[t] - begin[t];
    for (int64_t h = 0; h < heads; ++h) {
      const int64_t column = h / group * channels;
      const Eigen::VectorXd scores = keys.block(begin[t], column, count, channels) *
                                     queries.block(t, h * channels, 1, channels).transpose() * scale;
      const Eigen::VectorXd weights = (scores.array() - scores.maxCoeff()).exp();
      const Eigen::VectorXd mixed =
          values.block(begin[t], column, count, channels).transpose() * weights / weights.sum();
      for (int64_t c = 0; c < channels; ++c) out.row(t)[h * channels + c] = static_cast<float>(mixed[c]);
    }
  }
}

}  // namespace gemlet::ops::oracle
