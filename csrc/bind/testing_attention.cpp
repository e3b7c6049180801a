// Private access to attention over pages, for tests (against numpy, and set against set) and micro-benchmarks.
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

using kernels::kPageKeys;

ops::KvType type_of(const std::string& kind) {
  if (kind == "f32") return ops::KvType::F32;
  if (kind == "f16") return ops::KvType::F16;
  if (kind == "q8_0") return ops::KvType::Q8_0;
  throw BadArgument(cat("kind: unknown '", kind, "'"));
}

// Keys and values (S, K * C) put into pages. What no key is written to holds NaN, or the byte -1 with the scale NaN.
class Pages {
 public:
  Pages(const kernels::Table& table, ops::KvType type, int64_t kv_heads, Rows<const float> k, Rows<const float> v) {
    const int64_t used = k.cols / kv_heads, stored = ops::stored_channels(type, used);
    const size_t head = ops::head_bytes(type, stored), page_bytes = static_cast<size_t>(kv_heads) * head;
    for (int64_t page = 0; page * kPageKeys < k.rows; ++page)
      for (auto* list : {&k_, &v_}) {
        // Padding is zero where floats are stored; bytes bring their own.
        const bool padded = stored != used && type != ops::KvType::Q8_0;
        memory_.emplace_back(page_bytes, padded ? uint8_t{0} : uint8_t{0xFF});
        list->push_back(memory_.back().data());
      }
    kv_ = {k_.data(), v_.data(), type, kv_heads, stored, used};
    for (int64_t j = 0; j < k.rows; ++j)
      for (int64_t h = 0; h < kv_heads; ++h) {
        const auto page = static_cast<size_t>(j / kPageKeys * 2);
        const size_t at = static_cast<size_t>(h) * head;
        ops::store_key(table, kv_, k.row(j) + h * used, j % kPageKeys, memory_[page].data() + at);
        ops::store_value(table, kv_, v.row(j) + h * used, j % kPageKeys, memory_[page + 1].data() + at);
      }
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  const ops::KvPages& kv() const { return kv_; }

 private:
  std::vector<std::vector<uint8_t>> memory_;
  std::vector<const uint8_t*> k_, v_;
  ops::KvPages kv_{};
};

using Case = std::tuple<In<float>, In<float>, In<float>, In<int64_t>, In<int64_t>>;

// Each case: q (T, H * C), k, v (S, K * C), begin, end (T). All run as one call.
py::list attention(const std::string& isa, const std::vector<Case>& cases, int64_t kv_heads, float scale,
                   const std::string& kind, int threads) {
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, false);
  std::vector<std::unique_ptr<Pages>> pages;
  std::vector<ops::Attention> sequences;
  py::list results;
  for (const auto& [q, k, v, begin, end] : cases) {
    pages.push_back(std::make_unique<Pages>(on.kernels, type_of(kind), kv_heads, rows_of(k, "k"), rows_of(v, "v")));
    py::array_t<float> y = out<float>({q.shape(0), q.shape(1)});
    sequences.push_back({rows_of(q, "q"), pages.back()->kv(), begin.data(), end.data(), rows_of(y)});
    results.append(y);
  }
  ops::attention(on, sequences, scale);
  return results;
}

// Seconds of the best of `repeats` calls: the last `tokens` of `keys` positions, random keys and values, everything seen.
double time_attention(const std::string& isa, const std::string& kind, int64_t kv_heads, int64_t group,
                      int64_t channels, int64_t keys, int64_t tokens, int threads, int repeats) {
  const py::gil_scoped_release release;
  const Team team(threads);
  ops::Context on(kernels::by_name(isa), team, false);
  const ops::KvType type = type_of(kind);
  // A few different pages of their own memory: what is read is as large as a real cache, filling it is quick.
  std::mt19937 random(1);
  std::vector<float> one(static_cast<size_t>(kPageKeys * kv_heads * channels));
  for (float& f : one) f = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
  const Rows<const float> rows(one.data(), kPageKeys, kv_heads * channels);
  const Pages sample(on.kernels, type, kv_heads, rows, rows);
  ops::KvPages kv = sample.kv();
  const size_t bytes = static_cast<size_t>(kv_heads) * ops::head_bytes(type, kv.channels);
  std::vector<std::vector<uint8_t>> memory;
  std::vector<const uint8_t*> k, v;
  for (int64_t at = 0; at < keys; at += kPageKeys) {
    memory.emplace_back(kv.k[0], kv.k[0] + bytes), k.push_back(memory.back().data());
    memory.emplace_back(kv.v[0], kv.v[0] + bytes), v.push_back(memory.back().data());
  }
  kv.k = k.data(), kv.v = v.data();
  std::vector<float> q(static_cast<size_t>(tokens * kv_heads * group * channels)), y(q.size());
  for (float& f : q) f = static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
  std::vector<int64_t> begin(static_cast<size_t>(tokens), 0), end;
  for (int64_t t = 0; t < tokens; ++t) end.push_back(keys - tokens + t + 1);
  const int64_t columns = kv_heads * group * channels;
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    ops::attention(on, {{{q.data(), tokens, columns}, kv, begin.data(), end.data(), {y.data(), tokens, columns}}},
                   1.0F / 16.0F);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

}  // namespace

void register_testing_attention(py::module_& m) {
  m.def("attention", &attention, py::arg("isa"), py::arg("cases"), py::arg("kv_heads"), py::arg("scale"),
        py::arg("kind"), py::arg("threads") = 1);
  m.def("time_attention", &time_attention, py::arg("isa"), py::arg("kind"), py::arg("kv_heads"), py::arg("group"),
        py::arg("channels"), py::arg("keys"), py::arg("tokens"), py::arg("threads") = 1, py::arg("repeats") = 5);
}

}  // namespace gemlet::bind
