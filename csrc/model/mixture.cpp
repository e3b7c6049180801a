// transformers, Gemma4TextRouter and Gemma4TextExperts. Rows are sorted by expert, so that each expert's weights are
// read once a block; sums over a token's experts go by rank, so they do not depend on the other tokens.
#include "model/mixture.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace gemlet::model {
namespace {

// The k largest of scores (E), best first, the lower id first where they are equal; and softmax over all, renormalised
// over the chosen, which is softmax over the chosen.
void choose(const float* scores, int64_t experts, int64_t k, float* ids, float* weights) {
  std::vector<int32_t> order(static_cast<size_t>(experts));
  for (size_t e = 0; e < order.size(); ++e) order[e] = static_cast<int32_t>(e);
  std::partial_sort(order.begin(), order.begin() + k, order.end(),
                    [&](int32_t a, int32_t b) { return scores[a] != scores[b] ? scores[a] > scores[b] : a < b; });
  double sum = 0;
  for (int64_t r = 0; r < k; ++r) {
    const double share = std::exp(static_cast<double>(scores[order[static_cast<size_t>(r)]]) -
                                  static_cast<double>(scores[order.front()]));
    ids[r] = static_cast<float>(order[static_cast<size_t>(r)]);
    weights[r] = static_cast<float>(share);
    sum += share;
  }
  for (int64_t r = 0; r < k; ++r) weights[r] = static_cast<float>(weights[r] / sum);
}

}  // namespace

void Mixture::route(ops::Context& on, const Config& c, const Layer& l, Rows<const float> x, ops::Quantised& scratch) {
  const Profile::Scope scope(on.profile, Operation::Router);
  tokens_ = x.rows, used_ = c.experts_used;
  const Rows<float> z = router_in_.rows(x.rows, c.width), scores = scores_.rows(x.rows, c.experts);
  // z = norm(x) * scale * D^-0.5
  ops::norm(on, x, l.ffn_gate_inp_scale, c.eps, z);
  ops::scale(on, 1.0F / std::sqrt(static_cast<float>(c.width)), z);
  ops::linear(on, z, {{&l.ffn_gate_inp, scores}}, scratch);
  const Rows<float> ids = ids_.rows(x.rows, used_), weights = weights_.rows(x.rows, used_);
  on.team.run(x.rows, [&](int64_t t, int) { choose(scores.row(t), c.experts, used_, ids.row(t), weights.row(t)); });
}

void Mixture::experts(ops::Context& on, const Config& c, const Layer& l, Rows<const float> u, Rows<float> y,
                      ops::Quantised& scratch) {
  const Profile::Scope scope(on.profile, Operation::Experts);
  const int64_t all = tokens_ * used_;
  count_.assign(static_cast<size_t>(c.experts), 0), first_.assign(static_cast<size_t>(c.experts), 0);
  const auto expert_of = [&](int64_t slot) { return static_cast<size_t>(ids_.data()[slot]); };
  for (int64_t s = 0; s < all; ++s) ++count_[expert_of(s)];
  for (size_t e = 1; e < count_.size(); ++e) first_[e] = first_[e - 1] + count_[e - 1];
  slot_.resize(static_cast<size_t>(all));
  std::vector<int64_t> next = first_;
  for (int64_t s = 0; s < all; ++s) slot_[static_cast<size_t>(s)] = next[expert_of(s)]++;

  const Rows<float> in = in_.rows(all, c.width), gate = gate_.rows(all, c.expert_ffn), up = up_.rows(all, c.expert_ffn);
  const Rows<float> out = out_.rows(all, c.width);
  on.team.run(tokens_, [&](int64_t t, int) {
    for (int64_t r = 0; r < used_; ++r)
      std::memcpy(in.row(slot_[static_cast<size_t>(t * used_ + r)]), u.row(t),
                  static_cast<size_t>(c.width) * sizeof(float));
  });

  // down_proj(gelu(gate_proj(u)) * up_proj(u)) of every expert that somebody chose
  std::vector<codec::Matrix> matrices;
  matrices.reserve(static_cast<size_t>(c.experts) * 3);
  std::vector<ops::Product> wide, down;
  const auto add = [&](std::vector<ops::Product>& to, const ExpertMatrix& m, int64_t e, Rows<float> rows) {
    const int64_t first = first_[static_cast<size_t>(e)], count = count_[static_cast<size_t>(e)];
    matrices.push_back(m.at(e));
    to.push_back({&matrices.back(), {rows.row(first), count, rows.cols, rows.stride}, first});
  };
  for (int64_t e = 0; e < c.experts; ++e) {
    if (count_[static_cast<size_t>(e)] == 0) continue;
    add(wide, l.ffn_gate_exps, e, gate), add(wide, l.ffn_up_exps, e, up), add(down, l.ffn_down_exps, e, out);
  }
  ops::linear(on, in, wide, scratch);
  ops::gelu_mul(on, gate, up);
  ops::linear(on, gate, down, scratch);

  on.team.run(tokens_, [&](int64_t t, int) {
    float* sum = y.row(t);
    std::fill(sum, sum + c.width, 0.0F);
    for (int64_t r = 0; r < used_; ++r) {
      const int64_t s = t * used_ + r;
      const float weight = weights_.data()[s] * l.ffn_down_exps_scale[expert_of(s)];
      const float* one = out.row(slot_[static_cast<size_t>(s)]);
      for (int64_t d = 0; d < c.width; ++d) sum[d] += weight * one[d];
    }
  });
}

size_t Mixture::bytes() const {
  size_t total = 0;
  for (const Buffer<float>* b : {&router_in_, &scores_, &ids_, &weights_, &in_, &gate_, &up_, &out_})
    total += b->bytes();
  return total;
}

}  // namespace gemlet::model
