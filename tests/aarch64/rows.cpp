// Row operations and conversions between float32 and the 16-bit kinds, against the scalar set.
#include "compare.h"

namespace gemlet::checks {
namespace {

using kernels::Table;

const Table& scalar() { return kernels::by_name("scalar"); }

struct Quantised {
  explicit Quantised(int64_t blocks)
      : q(static_cast<size_t>(blocks * 32), 99),
        d(static_cast<size_t>(blocks)),
        dsum(d.size()),
        sum(d.size()),
        minus32(4 * d.size()) {}
  kernels::QuantRows rows() {
    return {q.data(), d.data(), sum.data(), minus32.data(), dsum.data(), static_cast<int64_t>(d.size())};
  }
  std::vector<int8_t> q;
  Floats d, dsum;
  std::vector<int32_t> sum;
  std::vector<int16_t> minus32;
};

void check_quantise(Report& report, const Sets& sets) {
  Random random(11);
  for (const int64_t n : {1, 31, 32, 33, 100, 256, 640, 2112})
    for (int sample = 0; sample < 12; ++sample) {
      Floats x = random.normals(n);
      const float size = std::pow(10.0F, static_cast<float>(random.from(-44, 37)));
      for (float& v : x) v = sample == 0 ? 0.0F : sample == 1 ? -3.4028235e38F : sample == 2 ? 1e-45F : v * size;
      if (sample == 3) x[0] = NAN;
      if (sample == 4) x.back() = INFINITY;
      if (sample == 5)  // halfway between integers
        for (size_t i = 0; i < x.size(); ++i) x[i] = i % 32 == 0 ? 127.0F : static_cast<float>(i % 32) - 15.5F;
      const int64_t blocks = (n + 255) / 256 * 8;
      Quantised want(blocks);
      scalar().quantize(x.data(), n, want.rows());
      for (const Table* set : sets) {
        Quantised got(blocks);
        set->quantize(x.data(), n, got.rows());
        const std::string what = cat("quantize of ", n, ", sample ", sample);
        report.equal(what, set->name, got.q.data(), want.q.data(), want.q.size());
        report.same(what + ": d", set->name, got.d, want.d);
        report.same(what + ": dsum", set->name, got.dsum, want.dsum);
        report.equal(what + ": sum", set->name, got.sum.data(), want.sum.data(), want.sum.size());
        report.equal(what + ": minus32", set->name, got.minus32.data(), want.minus32.data(), want.minus32.size());
      }
      if (n % 32 != 0) continue;
      std::vector<int16_t> q(x.size()), q_want(x.size());
      const float unit = scalar().quantize16(x.data(), n, INT16_MAX, q_want.data());
      for (const Table* set : sets) {
        const float got = set->quantize16(x.data(), n, INT16_MAX, q.data());
        report.same(cat("quantize16 of ", n, ", sample ", sample), set->name, &got, &unit, 1);
        report.equal(cat("quantize16 of ", n, ", sample ", sample), set->name, q.data(), q_want.data(), q.size());
      }
    }
}

struct RowInput {
  Floats a, b, c;
};

// What each operation makes of the same row.
std::vector<std::pair<const char*, Floats>> run_all(const Table& k, const RowInput& in) {
  const auto n = static_cast<int64_t>(in.a.size());
  std::vector<std::pair<const char*, Floats>> out;
  Floats y(in.a.size());
  k.rms_norm(in.a.data(), in.b.data(), 1e-6F, n, y.data());
  out.emplace_back("rms_norm", y);
  k.rms_norm(in.a.data(), nullptr, 1e-6F, n, y.data());
  out.emplace_back("rms_norm without weights", y);
  y = in.c;
  k.add_rms_norm(in.a.data(), in.b.data(), 1e-6F, n, y.data());
  out.emplace_back("add_rms_norm", y);
  k.gelu_mul(in.a.data(), in.b.data(), n, y.data());
  out.emplace_back("gelu_mul", y);
  k.sigmoid_mul(in.a.data(), in.b.data(), n, y.data());
  out.emplace_back("sigmoid_mul", y);
  k.sigmoid_mul(in.b.data(), in.a.data(), n, y.data());
  out.emplace_back("sigmoid_mul of what is no number", y);
  y = in.a;
  k.softcap(30, n, y.data());
  out.emplace_back("softcap", y);
  y = in.a;
  k.scale(-0.3F, n, y.data());
  out.emplace_back("scale", y);
  if (n % 2 == 0) {
    k.rope(in.a.data(), in.b.data(), in.c.data(), n, y.data());
    out.emplace_back("rope", y);
  }
  float most = -1;
  for (const float v : in.a) most = v > most ? v : most;
  out.emplace_back("sum_exp", Floats{k.sum_exp(in.a.data(), n, most), k.sum_exp(in.a.data(), n, 0)});
  return out;
}

void check_operations(Report& report, const Sets& sets) {
  Random random(12);
  for (const int64_t n : {1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31, 64, 255, 256, 640, 2113})
    for (int sample = 0; sample < 4; ++sample) {
      RowInput in{random.normals(n), random.normals(n), random.normals(n)};
      for (Floats* row : {&in.a, &in.b, &in.c})
        for (float& v : *row)
          if (sample == 1) v *= std::pow(10.0F, static_cast<float>(random.from(-30, 17)));
      if (sample == 2) in.a[static_cast<size_t>(n / 2)] = NAN;
      if (sample == 3) in.a[static_cast<size_t>(n / 2)] = n % 2 == 0 ? INFINITY : -INFINITY;
      const auto want = run_all(scalar(), in);
      for (const Table* set : sets) {
        const auto got = run_all(*set, in);
        for (size_t i = 0; i < want.size(); ++i)
          report.same(cat(want[i].first, " of ", n, ", sample ", sample), set->name, got[i].second, want[i].second);
      }
    }
}

void check_conversions(Report& report, const Sets& sets) {
  std::vector<uint16_t> halves(65536);
  for (size_t i = 0; i < halves.size(); ++i) halves[i] = static_cast<uint16_t>(i);
  const auto n = static_cast<int64_t>(halves.size());
  Floats wide(halves.size()), brain(halves.size());
  scalar().widen_f16(halves.data(), n, wide.data());
  scalar().widen_bf16(halves.data(), n, brain.data());
  Floats around;  // the numbers halfway between neighbours, and those beside them
  for (size_t i = 0; i < 0x7BFF; ++i) {
    const float tie = static_cast<float>((static_cast<double>(wide[i]) + static_cast<double>(wide[i + 1])) / 2);
    for (const float v : {tie, std::nextafter(tie, 0.0F), std::nextafter(tie, INFINITY)})
      around.push_back(v), around.push_back(-v);
  }
  for (const float v : {1e-45F, 1e-8F, 65519.996F, 65520.0F, 1e10F, 3.4e38F, INFINITY}) around.push_back(v);
  around.insert(around.end(), wide.begin(), wide.end());
  std::vector<uint16_t> want(around.size()), got(around.size());
  scalar().narrow_f16(around.data(), static_cast<int64_t>(around.size()), want.data());
  for (const Table* set : sets) {
    Floats y(halves.size());
    set->widen_f16(halves.data(), n, y.data());
    report.same("widen_f16", set->name, y, wide);
    set->widen_bf16(halves.data(), n, y.data());
    report.same("widen_bf16", set->name, y, brain);
    set->narrow_f16(around.data(), static_cast<int64_t>(around.size()), got.data());
    report.equal("narrow_f16", set->name, got.data(), want.data(), want.size());
    for (const int64_t k : {1, 15, 16, 67, 704}) {  // five rows of the numbers below 4
      Floats by_set(5), by_scalar(5);
      for (const auto& matvec : {&Table::matvec_f16, &Table::matvec_bf16}) {
        (set->*matvec)(halves.data(), 3300, 5, wide.data() + 9000, k, by_set.data());
        (scalar().*matvec)(halves.data(), 3300, 5, wide.data() + 9000, k, by_scalar.data());
        report.same(cat("rows of 16 bits times ", k, " values"), set->name, by_set, by_scalar);
      }
    }
    for (int64_t some = 1; some < 10; ++some) {
      set->widen_f16(halves.data() + 1000, some, y.data());
      report.same(cat("widen_f16 of ", some), set->name, y.data(), wide.data() + 1000, static_cast<size_t>(some));
      set->narrow_f16(around.data() + 999, some, got.data());
      report.equal(cat("narrow_f16 of ", some), set->name, got.data(), want.data() + 999, static_cast<size_t>(some));
    }
  }
}

void check_limits(Report& report, const Sets& sets) {
  std::vector<uint8_t> bytes(8192 + 32);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 37 + i / 251);
  for (const Table* set : sets) {
    report.expect(set->read_stream(bytes.data(), bytes.size()) == scalar().read_stream(bytes.data(), bytes.size()),
                  cat(set->name, ": read_stream gives another checksum"));
    report.expect(set->int8_stream(10) >= 10 * 64 * 2, cat(set->name, ": int8_stream did fewer operations than asked"));
  }
}

}  // namespace

void check_rows(Report& report, const Sets& sets) {
  check_quantise(report, sets);
  check_operations(report, sets);
  check_conversions(report, sets);
  check_limits(report, sets);
}

}  // namespace gemlet::checks
