// Picking from long arrays without sorting them: maxima, the k best, the nucleus. Knows no options and no random state.
// Every result is a set fixed by a total order (value, then lower id), so no standard library's sort can change it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace gemlet::sampling {

struct Candidate {
  int32_t id;
  float logit;
};

inline constexpr size_t kMaximaBlock = 64;

// maxima[b] = the largest of x[64 b, 64 b + 64), -inf where there is none; NaN is passed over. One pass, vectorised.
void block_maxima(const float* x, size_t n, std::vector<float>& maxima);

// The largest value, and the lowest index that holds it; -inf and index -1 if all are -inf or NaN.
Candidate best_of(const float* x, size_t n, const std::vector<float>& maxima);

// The k best of x (fewer if fewer are above -inf), ties to the lower id, in ascending id order. `spare` is scratch.
// About as dear as one pass over the maxima: the k-th largest block maximum is a floor for the k-th largest value.
void top_candidates(const float* x, size_t n, size_t k, const std::vector<float>& maxima, std::vector<float>& spare,
                    std::vector<Candidate>& out);

// Best first, ties to the lower id.
void sort_best_first(std::vector<Candidate>& candidates);

// Which weights are kept: all above `weight`, and of those equal to it the first `ties` in index order.
struct Cut {
  double weight = 0;
  size_t ties = std::numeric_limits<size_t>::max();
};

// The smallest set of largest weights (each in (0, 1]) whose sum reaches `mass`; all of them if the sum never does.
// Histograms over the bit patterns, each 1024 times finer: O(n), and equal weights cost no sort. `spare` is scratch.
Cut nucleus(const double* weights, size_t n, double mass, std::vector<double>& spare);

}  // namespace gemlet::sampling
