// What the checks of a machine's kernels share: random numbers, and the report of the first results that differ from the
// scalar set's.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "core/error.h"
#include "kernels/dispatch.h"

namespace gemlet::checks {

using Floats = std::vector<float>;
using Sets = std::vector<const kernels::Table*>;

class Report {
 public:
  // Equal bits, zeros of equal sign; the payload of what is not a number is not compared.
  void same(const std::string& what, const char* isa, const float* got, const float* want, size_t n) {
    compare(what, isa, n, [&](size_t i) {
      uint32_t a = 0, b = 0;
      std::memcpy(&a, got + i, 4), std::memcpy(&b, want + i, 4);
      if (a == b || (std::isnan(got[i]) && std::isnan(want[i]))) return std::string();
      char text[80];
      std::snprintf(text, sizeof text, "%.9g (%08x) for %.9g (%08x)", static_cast<double>(got[i]), a,
                    static_cast<double>(want[i]), b);
      return std::string(text);
    });
  }
  void same(const std::string& what, const char* isa, const Floats& got, const Floats& want) {
    if (got.size() != want.size()) throw BadArgument(cat(what, ": ", got.size(), " numbers for ", want.size()));
    same(what, isa, got.data(), want.data(), want.size());
  }
  template <class Integer>
  void equal(const std::string& what, const char* isa, const Integer* got, const Integer* want, size_t n) {
    compare(what, isa, n, [&](size_t i) {
      return got[i] == want[i] ? std::string() : cat(int64_t{got[i]}, " for ", int64_t{want[i]});
    });
  }
  void expect(bool holds, const std::string& what) {
    ++results_;
    if (!holds) fail(what);
  }
  int64_t results() const { return results_; }
  bool failed() const { return failures_ > 0; }

 private:
  template <class Difference>
  void compare(const std::string& what, const char* isa, size_t n, Difference difference) {
    size_t differ = 0, first = 0;
    std::string text;
    for (size_t i = 0; i < n; ++i) {
      const std::string one = difference(i);
      if (one.empty()) continue;
      if (differ++ == 0) first = i, text = one;
    }
    results_ += static_cast<int64_t>(n);
    if (differ > 0) fail(cat(isa, ": ", what, ": ", differ, " of ", n, " differ, the first at ", first, ": ", text));
  }
  void fail(const std::string& what) {
    constexpr int kShown = 20;
    if (++failures_ <= kShown) std::printf("%s\n", what.c_str());
  }
  int64_t results_ = 0;
  int failures_ = 0;
};

class Random {
 public:
  explicit Random(uint32_t seed) : engine_(seed) {}
  uint32_t below(uint32_t n) { return static_cast<uint32_t>(engine_() % n); }
  int64_t from(int64_t low, int64_t high) { return low + below(static_cast<uint32_t>(high - low + 1)); }
  // Sums of three: nearly normal, of variance 1, and the same on every machine.
  float normal() { return uniform() + uniform() + uniform(); }
  float uniform() { return static_cast<float>(static_cast<int32_t>(below(1U << 24)) - (1 << 23)) * 0x1p-23F; }
  Floats normals(int64_t n, float size = 1) {
    Floats x(static_cast<size_t>(n));
    for (float& v : x) v = normal() * size;
    return x;
  }

 private:
  std::mt19937 engine_;
};

void check_products(Report& report, const Sets& sets);
void check_rows(Report& report, const Sets& sets);
void check_attention(Report& report, const Sets& sets);
void check_wide(Report& report, const Sets& sets);

}  // namespace gemlet::checks
