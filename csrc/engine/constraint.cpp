// The gate of one generation; see constraint.h.
#include "engine/constraint.h"

#include <bit>

#include "core/error.h"

namespace gemlet::engine {
namespace {

// Up to this share of the vocabulary single rows are cheaper than the whole head: they are read at random, and each needs
// a call of its own.
constexpr int64_t kFewRows = 8;

}  // namespace

Gate::Gate(std::shared_ptr<Constraint> constraint, int32_t opens_after, int64_t vocabulary, bool every_logit)
    : constraint_(std::move(constraint)),
      opens_after_(opens_after),
      vocabulary_(vocabulary),
      every_logit_(every_logit),
      open_(opens_after < 0) {
  if (opens_after >= vocabulary)
    throw BadArgument(cat("constraint_after: ", opens_after, " is outside the vocabulary, 0 to ", vocabulary - 1));
}

void Gate::look() {
  mask_ = nullptr;
  forced_ = -1;
  rows_.clear();
  if (constraint_ == nullptr || !open_) return;
  mask_ = constraint_->mask();
  if (mask_ == nullptr) return;
  const int64_t words = (vocabulary_ + 31) / 32;
  const int64_t past = words * 32 - vocabulary_;  // bits of the last word that stand for no id
  const auto word = [&](int64_t w) { return w + 1 < words ? mask_[w] : mask_[w] & (0xffffffffU >> past); };
  int64_t allowed = 0;
  for (int64_t w = 0; w < words; ++w) allowed += std::popcount(word(w));
  if (allowed == 0)
    throw SchemaError(
        "generate: the constraint allows no token at this place, not even an end; it contradicts itself, or needs text "
        "that this model's vocabulary cannot write");
  if (every_logit_ || allowed > vocabulary_ / kFewRows) return;
  rows_.reserve(static_cast<size_t>(allowed));
  for (int64_t w = 0; w < words; ++w)
    for (uint32_t bits = word(w); bits != 0; bits &= bits - 1)
      rows_.push_back(static_cast<int32_t>(w * 32 + std::countr_zero(bits)));
  if (allowed == 1) forced_ = rows_.front();
}

void Gate::accept(int32_t id) {
  if (constraint_ == nullptr) return;
  if (!open_) {
    open_ = id == opens_after_;
    return;
  }
  constraint_->accept(id);
  finished_ = constraint_->finished();
}

}  // namespace gemlet::engine
