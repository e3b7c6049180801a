// Attention over pages of every kind, through the whole operation: keys and values stored, tiles, and their merging,
// against the scalar set.
#include <algorithm>

#include "compare.h"
#include "ops/ops.h"

namespace gemlet::checks {
namespace {

using kernels::kPageKeys;
using ops::KvType;

struct Shape {
  int64_t tokens, keys, window, kv_heads, group, channels;
};

// The last tokens of some positions, each seeing `window` back.
struct Case {
  Case(const Shape& s, Random& random)
      : shape(s),
        q(random.normals(s.tokens * s.kv_heads * s.group * s.channels)),
        k(random.normals(s.keys * s.kv_heads * s.channels)),
        v(random.normals(s.keys * s.kv_heads * s.channels)) {
    for (int64_t t = 0; t < s.tokens; ++t) {
      end.push_back(s.keys - s.tokens + 1 + t);
      begin.push_back(std::max<int64_t>(0, end.back() - s.window));
    }
  }
  Shape shape;
  Floats q, k, v;
  std::vector<int64_t> begin, end;
};

const char* name_of(KvType type) { return type == KvType::F32 ? "f32" : type == KvType::F16 ? "f16" : "q8_0"; }

// What no key is written to holds NaN, or the byte -1 with the scale NaN.
class Pages {
 public:
  Pages(const kernels::Table& table, KvType type, const Case& c) {
    const Shape& s = c.shape;
    const int64_t stored = ops::stored_channels(type, s.channels);
    const size_t head = ops::head_bytes(type, stored), page_bytes = static_cast<size_t>(s.kv_heads) * head;
    const bool padded = stored != s.channels && type != KvType::Q8_0;
    const int64_t pages = (s.keys + kPageKeys - 1) / kPageKeys;
    memory_.assign(static_cast<size_t>(pages) * 2,
                   std::vector<uint8_t>(page_bytes, padded ? uint8_t{0} : uint8_t{255}));
    for (size_t i = 0; i < memory_.size(); i += 2) k_.push_back(memory_[i].data()), v_.push_back(memory_[i + 1].data());
    kv_ = {k_.data(), v_.data(), type, s.kv_heads, stored, s.channels};
    for (int64_t j = 0; j < s.keys; ++j)
      for (int64_t h = 0; h < s.kv_heads; ++h) {
        const auto page = static_cast<size_t>(j / kPageKeys * 2);
        const int64_t from = (j * s.kv_heads + h) * s.channels;
        const size_t at = static_cast<size_t>(h) * head;
        ops::store_key(table, kv_, c.k.data() + from, j % kPageKeys, memory_[page].data() + at);
        ops::store_value(table, kv_, c.v.data() + from, j % kPageKeys, memory_[page + 1].data() + at);
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

Floats attend(const kernels::Table& table, KvType type, const Case& c) {
  static const Team team(1);
  ops::Context on(table, team, false);
  const Pages pages(table, type, c);
  const int64_t cols = c.shape.kv_heads * c.shape.group * c.shape.channels;
  Floats out(c.q.size());
  ops::attention(on,
                 {{{c.q.data(), c.shape.tokens, cols},
                   pages.kv(),
                   c.begin.data(),
                   c.end.data(),
                   {out.data(), c.shape.tokens, cols}}},
                 1.0F / std::sqrt(static_cast<float>(c.shape.channels)));
  return out;
}

void compare(Report& report, const Sets& sets, const std::string& what, const Case& c) {
  const Shape& s = c.shape;
  for (const KvType type : {KvType::F32, KvType::F16, KvType::Q8_0}) {
    const Floats want = attend(kernels::by_name("scalar"), type, c);
    for (const kernels::Table* set : sets)
      report.same(cat("attention over ", name_of(type), ", ", what, " (", s.tokens, " of ", s.keys, ", window ",
                      s.window, ", ", s.kv_heads, " x ", s.group, " heads of ", s.channels, ")"),
                  set->name, attend(*set, type, c), want);
  }
}

// Scores, softmax and values are compared through the tile itself too: the end of a row could hide a difference.
void check_merge(Report& report, const Sets& sets, Random& random) {
  constexpr int64_t kRows = 5, kChannels = 40;
  for (int sample = 0; sample < 20; ++sample) {
    Floats max = random.normals(kRows, 20), sum = random.normals(kRows), out = random.normals(kRows * kChannels);
    const Floats max0 = random.normals(kRows, 20), sum0 = random.normals(kRows),
                 out0 = random.normals(kRows * kChannels);
    sum[0] = 0;
    kernels::AttendTile tile{};
    tile.rows = kRows, tile.channels = kChannels;
    tile.max = max.data(), tile.sum = sum.data(), tile.out = out.data();
    const auto merged = [&](const kernels::Table& table) {
      Floats a = max0, b = sum0, c = out0;
      b[1] = 0, a[1] = -INFINITY;
      table.attend_merge(tile, a.data(), b.data(), c.data(), kChannels);
      a.insert(a.end(), b.begin(), b.end());
      a.insert(a.end(), c.begin(), c.end());
      return a;
    };
    const Floats want = merged(kernels::by_name("scalar"));
    for (const kernels::Table* set : sets) report.same("attend_merge", set->name, merged(*set), want);
  }
}

}  // namespace

void check_attention(Report& report, const Sets& sets) {
  Random random(21);
  const Shape shapes[] = {{1, 1, 1, 1, 1, 8},       {1, 300, 1000, 1, 4, 256}, {1, 515, 100, 2, 3, 64},
                          {5, 5, 1000, 1, 1, 16},   {7, 70, 33, 2, 1, 24},     {9, 257, 256, 1, 2, 72},
                          {33, 300, 256, 1, 4, 40}, {40, 40, 1000, 4, 2, 128}, {20, 600, 17, 1, 5, 32},
                          {3, 130, 1000, 2, 2, 13}, {5, 100, 1000, 1, 8, 512}};
  for (const Shape& s : shapes) compare(report, sets, "as shaped", Case(s, random));
  for (int i = 0; i < 40; ++i) {
    const int64_t keys = random.from(1, 500), windows[] = {1, 2, 15, 63, 64, 65, 255, 256, 257, 1000};
    const Shape s{random.from(1, std::min<int64_t>(keys, 12)),
                  keys,
                  windows[random.below(10)],
                  random.from(1, 2),
                  random.from(1, 6),
                  random.from(1, 130)};
    compare(report, sets, "any shape", Case(s, random));
  }
  for (const float size : {0.0F, 1e-37F, 1e-30F, 1e-9F, 1e-3F, 1e3F, 1e15F}) {
    Case scores({6, 300, 1000, 1, 2, 64}, random), values({3, 100, 1000, 1, 2, 64}, random);
    for (float& x : scores.q) x *= size;
    for (float& x : values.v) x *= size;
    compare(report, sets, cat("queries of ", size), scores);
    compare(report, sets, cat("values of ", size), values);
  }
  Case spoilt({21, 300, 40, 1, 3, 32}, random);
  spoilt.v[290 * 32 + 5] = INFINITY, spoilt.k[293 * 32] = NAN, spoilt.v[241 * 32 + 1] = NAN;
  compare(report, sets, "keys that are no numbers", spoilt);
  spoilt.q[static_cast<size_t>(4 * 3 * 32 + 3)] = NAN;
  compare(report, sets, "queries that are no numbers", spoilt);
  check_merge(report, sets, random);
}

}  // namespace gemlet::checks
