// Maxima, the k best and the nucleus; see select.h.
#include "sampling/select.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>

namespace gemlet::sampling {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();

float maximum(const float* x, size_t n) {
  float best = kNone;
  for (size_t i = 0; i < n; ++i) best = x[i] > best ? x[i] : best;
  return best;
}

// A whole block in four registers of four; `a > b ? a : b` keeps b when a is NaN, as the hardware's maximum does.
using Four = float __attribute__((vector_size(16)));

Four larger(const float* x, Four old) {
  Four four;
  std::memcpy(&four, x, sizeof(four));
  return four > old ? four : old;
}

float whole_block_maximum(const float* x) {
  const Four none = {kNone, kNone, kNone, kNone};
  Four a = none, b = none, c = none, d = none;
  for (size_t i = 0; i < kMaximaBlock; i += 16) {
    a = larger(x + i, a);
    b = larger(x + i + 4, b);
    c = larger(x + i + 8, c);
    d = larger(x + i + 12, d);
  }
  a = a > b ? a : b;
  c = c > d ? c : d;
  a = a > c ? a : c;
  return std::max(std::max(a[0], a[1]), std::max(a[2], a[3]));
}

bool better(const Candidate& a, const Candidate& b) { return a.logit != b.logit ? a.logit > b.logit : a.id < b.id; }

}  // namespace

void block_maxima(const float* x, size_t n, std::vector<float>& maxima) {
  maxima.resize((n + kMaximaBlock - 1) / kMaximaBlock);
  const size_t whole = n / kMaximaBlock;
  for (size_t b = 0; b < whole; ++b) maxima[b] = whole_block_maximum(x + b * kMaximaBlock);
  if (whole < maxima.size()) maxima[whole] = maximum(x + whole * kMaximaBlock, n - whole * kMaximaBlock);
}

Candidate best_of(const float* x, size_t n, const std::vector<float>& maxima) {
  const float best = maximum(maxima.data(), maxima.size());
  if (best == kNone) return {-1, kNone};
  const size_t block = static_cast<size_t>(std::find(maxima.begin(), maxima.end(), best) - maxima.begin());
  size_t i = block * kMaximaBlock;
  while (i < n && x[i] != best) ++i;
  return {static_cast<int32_t>(i), best};
}

void top_candidates(const float* x, size_t n, size_t k, const std::vector<float>& maxima, std::vector<float>& spare,
                    std::vector<Candidate>& out) {
  out.clear();
  if (k == 0) return;
  float floor = kNone;
  if (k < maxima.size()) {
    spare.assign(maxima.begin(), maxima.end());
    std::nth_element(spare.begin(), spare.begin() + static_cast<std::ptrdiff_t>(k - 1), spare.end(), std::greater<>());
    floor = spare[k - 1];
  }
  for (size_t b = 0; b < maxima.size(); ++b) {
    if (!(maxima[b] >= floor) || maxima[b] == kNone) continue;
    const size_t end = std::min(n, (b + 1) * kMaximaBlock);
    for (size_t i = b * kMaximaBlock; i < end; ++i) {
      if (x[i] >= floor && x[i] > kNone) out.push_back({static_cast<int32_t>(i), x[i]});
    }
  }
  if (out.size() > k) {
    std::nth_element(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(k - 1), out.end(), better);
    out.resize(k);
    std::sort(out.begin(), out.end(), [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  }
}

void sort_best_first(std::vector<Candidate>& candidates) { std::sort(candidates.begin(), candidates.end(), better); }

namespace {

// Positive doubles order as their bit patterns do; counted down from 1.0, a smaller depth is a larger weight.
uint64_t depth(double weight) { return std::bit_cast<uint64_t>(1.0) - std::bit_cast<uint64_t>(weight); }

double at_depth(uint64_t d) { return std::bit_cast<double>(std::bit_cast<uint64_t>(1.0) - d); }

constexpr size_t kBuckets = 1024;
struct Histogram {
  std::array<double, kBuckets> mass{};
  std::array<uint32_t, kBuckets> count{};
};

// The bucket where the running mass reaches `mass`, or the last that holds anything; adds the buckets before it to `above`.
size_t crossing(const Histogram& h, double mass, double& above) {
  size_t last = kBuckets - 1;
  while (last > 0 && h.count[last] == 0) --last;
  size_t bucket = 0;
  while (bucket < last && above + h.mass[bucket] < mass) above += h.mass[bucket++];
  return bucket;
}

}  // namespace

Cut nucleus(const double* weights, size_t n, double mass, std::vector<double>& spare) {
  uint64_t low = 0, high = 0;  // the depths still in doubt: [low, high]
  for (size_t i = 0; i < n; ++i) high = std::max(high, depth(weights[i]));
  const double* doubtful = weights;  // the weights of those depths, in index order
  size_t count = n;
  double above = 0;  // the mass of all depths < low
  while (low < high) {
    const unsigned shift = static_cast<unsigned>(std::max(static_cast<int>(std::bit_width(high - low)), 10) - 10);
    Histogram h;
    for (size_t i = 0; i < count; ++i) {
      const size_t bucket = static_cast<size_t>((depth(doubtful[i]) - low) >> shift);
      h.mass[bucket] += doubtful[i];
      ++h.count[bucket];
    }
    const size_t bucket = crossing(h, mass, above);
    low += uint64_t{bucket} << shift;
    high = std::min(high, low + ((uint64_t{1} << shift) - 1));
    spare.resize(std::max(spare.size(), count));
    size_t kept = 0;  // never past i, so the second round may read and write `spare`
    for (size_t i = 0; i < count; ++i) {
      const uint64_t d = depth(doubtful[i]);
      if (d >= low && d <= high) spare[kept++] = doubtful[i];
    }
    doubtful = spare.data();
    count = kept;
    if (count == 1) low = high = depth(spare[0]);
  }
  const double weight = at_depth(low);
  Cut cut{weight, 1};
  for (double sum = above + weight; sum < mass && cut.ties < count; sum += weight) ++cut.ties;
  return cut;
}

}  // namespace gemlet::sampling
