// What encoder and decoder share: rows, and pages of keys and values.
#include "model/whisper_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

namespace gemlet::model {
namespace {

using kernels::kPageKeys;

constexpr float kEps = 1e-5F;
constexpr int64_t kRowsPerTask = 8;
constexpr int64_t kMadeAtOnce = 32 << 20;  // bytes

template <class Work>
void by_row(ops::Context& on, int64_t rows, const Work& work) {
  if (rows <= kRowsPerTask) {  // not worth a handshake
    for (int64_t t = 0; t < rows; ++t) work(t);
    return;
  }
  on.team.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t t = task * kRowsPerTask; t < end; ++t) work(t);
  });
}

}  // namespace

WhisperModel::WhisperModel(std::shared_ptr<const WhisperFile> file, ops::Context& on)
    : file_(std::move(file)), quick_(!on.float_compute), weights_(WhisperWeights::from(*file_, on, quick_)) {}

void HeadPages::reserve(ops::KvType type, int64_t heads, int64_t used, int64_t keys) {
  const int64_t channels = ops::stored_channels(type, used), pages = (keys + kPageKeys - 1) / kPageKeys;
  head_ = ops::head_bytes(type, channels);
  const size_t page = head_ * static_cast<size_t>(heads);
  uint8_t* at = bytes_.reserve(static_cast<int64_t>(page) * pages * 2);
  k_.clear(), v_.clear();
  for (int64_t i = 0; i < pages; ++i) k_.push_back(at), v_.push_back(at + page), at += 2 * page;
  view_ = {k_.data(), v_.data(), type, heads, channels, used};
  if (channels != used) std::memset(bytes_.data(), 0, page * static_cast<size_t>(pages) * 2);
}

void HeadPages::store(const kernels::Table& kernels, int64_t key, const float* k, const float* v) {
  const auto page = static_cast<size_t>(key / kPageKeys);
  // The pages lie in bytes_.
  auto *keys = const_cast<uint8_t*>(k_[page]), *values = const_cast<uint8_t*>(v_[page]);
  for (int64_t h = 0; h < view_.kv_heads; ++h) {
    const size_t at = static_cast<size_t>(h) * head_;
    ops::store_key(kernels, view_, k + h * view_.used, key % kPageKeys, keys + at);
    ops::store_value(kernels, view_, v + h * view_.used, key % kPageKeys, values + at);
  }
}

WhisperPages::WhisperPages(const WhisperConfig& c)
    : bytes_(static_cast<int64_t>(ops::head_bytes(ops::KvType::F32, c.width / c.decoder_heads)) * 2 * c.decoder_layers *
             c.decoder_heads),
      longest_((c.positions + kPageKeys - 1) / kPageKeys) {}

WhisperPages::Page WhisperPages::made() const {
  Page page;
  page.reserve(bytes_);
  return page;
}

void WhisperPages::reserve(int64_t texts, int64_t tokens) {
  const int64_t own =
      std::min(longest_, (tokens + kPageKeys - 1) / kPageKeys + 1);  // the prompt may end inside the first
  const int64_t wanted = longest_ + (texts - 1) * own;
  if (wanted <= kept_) return;
  spare_.reserve(static_cast<size_t>(wanted));  // giving back must not fail
  for (; kept_ < wanted; ++kept_) {
    if ((kept_ + 1) * bytes_ > kMadeAtOnce) continue;
    spare_.push_back(made());
    std::memset(spare_.back().data(), 0, static_cast<size_t>(bytes_));  // else it would come bit by bit all the same
  }
}

std::shared_ptr<WhisperPages::Page> WhisperPages::take() {
  if (spare_.empty()) return {std::make_unique<Page>(made()).release(), GiveBack{this}};
  auto page = std::make_unique<Page>(std::move(spare_.back()));
  spare_.pop_back();
  return {page.release(), GiveBack{this}};
}

void WhisperPages::GiveBack::operator()(Page* page) const {
  const std::unique_ptr<Page> own(page);
  if (pages->spare() < pages->kept()) pages->spare_.push_back(std::move(*own));
}

WhisperCache::WhisperCache(const WhisperConfig& c, WhisperPages& memory)
    : layers_(c.decoder_layers), heads_(c.decoder_heads), channels_(c.width / c.decoder_heads), memory_(&memory) {}

uint8_t* WhisperCache::part(int64_t page, int64_t layer, bool values) const {
  const size_t bytes = ops::head_bytes(ops::KvType::F32, channels_) * static_cast<size_t>(heads_);
  return pages_[static_cast<size_t>(page)]->data() + bytes * static_cast<size_t>(2 * layer + (values ? 1 : 0));
}

void WhisperCache::prepare(int64_t count) {
  const size_t head = ops::head_bytes(ops::KvType::F32, channels_);
  const auto heads = static_cast<size_t>(2 * layers_ * heads_);
  for (int64_t page = length_ / kPageKeys; page * kPageKeys < length_ + count; ++page) {
    const auto at = static_cast<size_t>(page);
    if (at < pages_.size() && pages_[at].use_count() == 1) continue;
    std::shared_ptr<WhisperPages::Page> fresh = memory_->take();
    uint8_t* to = fresh->data();
    if (at < pages_.size()) {
      const size_t used = head / kPageKeys * static_cast<size_t>(length_ - page * kPageKeys);
      const uint8_t* from = pages_[at]->data();
      for (size_t i = 0; i < heads; ++i) std::memcpy(to + i * head, from + i * head, used);
      pages_[at] = std::move(fresh);
    } else {
      pages_.push_back(std::move(fresh));
    }
  }
}

void multiply(ops::Context& on, Rows<const float> x,
              const std::vector<std::pair<const WhisperLinear*, Rows<float>>>& products, WhisperInput& input) {
  std::vector<ops::WideProduct> wide;
  std::vector<ops::Product> exact;
  for (const auto& [l, y] : products) {
    if (l->wide.rows() > 0)
      wide.push_back({&l->wide, y});
    else
      exact.push_back({&l->w, y});
  }
  if (!wide.empty()) ops::linear(on, x, wide, input.wide);
  if (!exact.empty()) ops::linear(on, x, exact, input.quantised);
}

float attention_scale(int64_t channels) { return static_cast<float>(1 / std::sqrt(static_cast<double>(channels))); }

void add_bias(const float* bias, int64_t n, float* x) {
  if (bias == nullptr) return;
  for (int64_t i = 0; i < n; ++i) x[i] += bias[i];
}

void add_biased(ops::Context& on, Rows<const float> h, const float* bias, Rows<float> x) {
  by_row(on, x.rows, [&](int64_t t) {
    const float* from = h.row(t);
    float* to = x.row(t);
    for (int64_t i = 0; i < x.cols; ++i) to[i] += from[i] + bias[i];
  });
}

void layer_norm(ops::Context& on, Rows<const float> x, const WhisperNorm& norm, Rows<float> y) {
  const Profile::Scope scope(on.profile, Operation::Norm);
  by_row(on, x.rows,
         [&](int64_t t) { on.kernels.layer_norm(x.row(t), norm.weight, norm.bias, kEps, x.cols, y.row(t)); });
}

void gelu_biased(ops::Context& on, const float* bias, Rows<float> x) {
  const Profile::Scope scope(on.profile, Operation::Gelu);
  by_row(on, x.rows, [&](int64_t t) { on.kernels.gelu_erf(bias, x.cols, x.row(t)); });
}

}  // namespace gemlet::model
