// Products and attention in 16 bits, through the whole operations, and scores becoming shares, against the scalar set.
#include "ops/wide.h"
#include "compare.h"

namespace gemlet::checks {
namespace {

Floats product(const kernels::Table& table, const Floats& w, const Floats& x, int64_t rows, int64_t cols) {
  static const Team team(1);
  ops::Context on(table, team, false);
  const auto tokens = static_cast<int64_t>(x.size()) / cols;
  ops::WideMatrix packed;
  packed.pack(on, {reinterpret_cast<const uint8_t*>(w.data()), codec::Type::F32, rows, cols,
                   static_cast<size_t>(cols) * sizeof(float)});
  ops::WideInput scratch;
  Floats y(static_cast<size_t>(tokens * rows));
  ops::linear(on, {x.data(), tokens, cols}, {{&packed, {y.data(), tokens, rows}}}, scratch);
  return y;
}

Floats attend(const kernels::Table& table, const Floats& q, const Floats& k, const Floats& v, int64_t heads,
              int64_t channels) {
  static const Team team(1);
  ops::Context on(table, team, false);
  const int64_t cols = heads * channels, tokens = static_cast<int64_t>(q.size()) / cols;
  const auto keys = static_cast<int64_t>(k.size()) / cols;
  ops::WideKeys kv;
  kv.reserve(keys, heads, channels, 6);
  for (int64_t j = 0; j < keys; ++j)
    for (int64_t h = 0; h < heads; ++h)
      kv.store(table, j, h, k.data() + j * cols + h * channels, v.data() + j * cols + h * channels);
  Floats out(q.size());
  ops::attention(on, {q.data(), tokens, cols}, kv, 0.3F, {out.data(), tokens, cols});
  return out;
}

void check_shares(Report& report, const Sets& sets, Random& random) {
  for (const int64_t n : {16, 64, 256})
    for (const float size : {1.0F, 40.0F, 1e5F}) {
      const Floats scores = random.normals(n, size);
      std::vector<int16_t> want(scores.size()), got(scores.size());
      float most[2], sum[2];
      sum[0] = kernels::by_name("scalar").weigh(scores.data(), n, want.data(), most);
      for (const kernels::Table* set : sets) {
        sum[1] = set->weigh(scores.data(), n, got.data(), most + 1);
        report.equal(cat("shares of ", n), set->name, got.data(), want.data(), want.size());
        report.same(cat("sum of ", n, " shares"), set->name, sum + 1, sum, 1);
        report.same(cat("largest of ", n, " scores"), set->name, most + 1, most, 1);
      }
    }
}

}  // namespace

void check_wide(Report& report, const Sets& sets) {
  Random random(31);
  const int64_t shapes[][3] = {{1, 8, 1}, {16, 64, 4}, {37, 72, 7}, {65, 203, 9}};  // rows, columns, tokens
  for (const auto& [rows, cols, tokens] : shapes) {
    const Floats w = random.normals(rows * cols), x = random.normals(tokens * cols);
    const Floats want = product(kernels::by_name("scalar"), w, x, rows, cols);
    for (const kernels::Table* set : sets)
      report.same(cat("products in 16 bits (", rows, " x ", cols, ")"), set->name, product(*set, w, x, rows, cols),
                  want);
  }
  const int64_t sights[][4] = {{1, 1, 1, 16}, {5, 33, 2, 24}, {6, 300, 1, 72}};  // tokens, keys, heads, channels
  for (const auto& [tokens, keys, heads, channels] : sights) {
    const Floats q = random.normals(tokens * heads * channels), k = random.normals(keys * heads * channels),
                 v = random.normals(keys * heads * channels);
    const Floats want = attend(kernels::by_name("scalar"), q, k, v, heads, channels);
    for (const kernels::Table* set : sets)
      report.same(cat("attention in 16 bits over ", keys), set->name, attend(*set, q, k, v, heads, channels), want);
  }
  check_shares(report, sets, random);
}

}  // namespace gemlet::checks
