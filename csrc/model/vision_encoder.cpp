// The encoder of patches, in the order the reference tells it (transformers, models/gemma4/modeling_gemma4.py). Rows go
// through a layer in strips; only the stream x, and the keys and values of one picture in one layer, exist as a whole, so a
// large picture needs little memory. Letters: N patches, d width, H heads, C channels per head, F feed-forward, D the
// decoder's width.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "model/config.h"
#include "model/vision_tower.h"
#include "ops/wide.h"

namespace gemlet::model {
namespace {

using kernels::kPageKeys;

constexpr int64_t kStrip = 512;  // rows that go through a layer together
constexpr int64_t kRowsPerTask = 8;

template <class Work>
void by_row(ops::Context& on, int64_t rows, const Work& work) {
  on.team.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
    const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
    for (int64_t t = task * kRowsPerTask; t < end; ++t) work(t);
  });
}

// NaN stays NaN.
void clamp(const Bounds& b, int64_t n, const float* x, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i] < b.low ? b.low : x[i];
    y[i] = v > b.high ? b.high : v;
  }
}
void clamp(const Bounds& b, int64_t n, float* x) {
  if (b.any()) clamp(b, n, x, x);
}

void forget(const VisionTower& tower, const VisionLayer& l) {
  for (const ClippedMatrix* m : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) tower.forget(m->w);
}

// A layer's matrices in 16 bits, made when the layer begins.
struct PackedLayer {
  ops::WideMatrix q, k, v, o, gate, up, down;
  void fill(ops::Context& on, const VisionTower& tower, const VisionLayer& l) {
    const std::pair<ops::WideMatrix*, const ClippedMatrix*> parts[] = {
        {&q, &l.q}, {&k, &l.k}, {&v, &l.v}, {&o, &l.o}, {&gate, &l.gate}, {&up, &l.up}, {&down, &l.down}};
    for (const auto& [to, from] : parts) {
      to->pack(on, from->w);
      tower.forget(from->w);  // before the layer needs room for its rows
    }
  }
};

// Keys and values of one picture in one layer, in float32.
class Pages {
 public:
  void reserve(const VisionConfig& c, int64_t patches) {
    constexpr auto type = ops::KvType::F32;
    const int64_t channels = ops::stored_channels(type, c.channels), pages = (patches + kPageKeys - 1) / kPageKeys;
    head_ = ops::head_bytes(type, channels);
    const size_t page = head_ * static_cast<size_t>(c.heads);
    uint8_t* at = bytes_.reserve(static_cast<int64_t>(page) * pages * 2);
    k_.clear(), v_.clear();
    for (int64_t i = 0; i < pages; ++i) k_.push_back(at), v_.push_back(at + page), at += 2 * page;
    view_ = {k_.data(), v_.data(), type, c.heads, channels, c.channels};
    if (channels != c.channels) std::memset(bytes_.data(), 0, page * static_cast<size_t>(pages) * 2);
  }
  const ops::KvPages& view() const { return view_; }
  void store(const kernels::Table& kernels, int64_t patch, int64_t head, const float* k, const float* v) {
    const size_t page = static_cast<size_t>(patch / kPageKeys), at = static_cast<size_t>(head) * head_;
    ops::store_key(kernels, view_, k, patch % kPageKeys, bytes(k_[page]) + at);
    ops::store_value(kernels, view_, v, patch % kPageKeys, bytes(v_[page]) + at);
  }

 private:
  static uint8_t* bytes(const uint8_t* p) { return const_cast<uint8_t*>(p); }  // it lies in bytes_
  Buffer<uint8_t> bytes_;
  std::vector<const uint8_t*> k_, v_;
  ops::KvPages view_{};
  size_t head_ = 0;
};

class EncoderPass final : public VisionPass {
 public:
  EncoderPass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures)
      : tower_(tower), c_(tower.config()), on_(on), pictures_(std::move(pictures)) {
    for (size_t i = 0; i < levels_.size(); ++i) levels_[i] = 2 * (static_cast<float>(i) * (1.0F / 255) - 0.5F);
    int64_t rows = 0;
    for (const Picture& p : pictures_) {
      first_row_.push_back(rows);
      rows += patches(p), longest_ = std::max(longest_, std::max(p.height, p.width) / c_.patch);
    }
    x_all_ = x_.rows(rows, c_.width);
    const codec::Type type = c_.layers > 0 ? tower.weights().layers.front().q.w.type : codec::Type::F32;
    wide_ = ops::is_wide(on, type);
  }

  bool step() override;

 private:
  int64_t patches(const Picture& p) const { return p.height / c_.patch * (p.width / c_.patch); }
  Rows<float> stream(size_t picture) const {
    return {x_all_.row(first_row_[picture]), patches(pictures_[picture]), c_.width};
  }
  void begin();
  void begin_layer();
  void embed(const Picture& picture, Rows<float> x);
  void keys_and_values(const Picture& picture, Rows<const float> x);
  void strip(const Picture& picture, int64_t first, Rows<float> x);
  void feed_forward(Rows<float> x, Rows<float> h);
  void pool(const Picture& picture, Rows<const float> x);
  void turn(const Picture& picture, int64_t patch, float* head) const;
  // A matrix as the file has it and as it is packed, and where the product goes.
  struct Product {
    const ClippedMatrix* from;
    const ops::WideMatrix* packed;
    Rows<float> y;
  };
  void multiply(Rows<float> x, const std::vector<Product>& products);
  void multiply_clamped(Rows<const float> x, const std::vector<Product>& products);
  void add_normed(Rows<float> h, const ClippedMatrix& from, const float* weight, Rows<float> x) const;

  const VisionTower& tower_;
  const VisionConfig& c_;
  ops::Context& on_;
  std::vector<Picture> pictures_;
  std::vector<int64_t> first_row_;
  int64_t longest_ = 0;  // patches of the longest edge
  bool wide_ = false;    // products and attention in 16 bits; float32 weights are multiplied as they are
  std::array<float, 256> levels_{};
  Rows<float> x_all_;
  // where the pass stands
  bool begun_ = false;
  int64_t layer_ = 0, first_ = 0;
  size_t picture_ = 0;

  const VisionLayer* now_ = nullptr;
  PackedLayer packed_;
  Pages pages_;         // of floats,
  ops::WideKeys keys_;  // of 16 bits
  ops::RopeTable turns_;
  Buffer<float> x_, h_, q_, k_, v_, gate_, up_, clipped_, axis_;
  ops::Quantised quantised_;
  ops::WideInput input_;
  std::vector<int64_t> begin_, end_;
};

// One strip of one picture in one layer; the first also writes the picture's keys and values, the last its tokens.
bool EncoderPass::step() {
  if (!begun_) begin();
  if (pictures_.empty()) return true;
  const Picture& picture = pictures_[picture_];
  const Rows<float> x = stream(picture_);
  if (layer_ < c_.layers) {
    if (first_ == 0) {
      if (picture_ == 0) begin_layer();
      keys_and_values(picture, x);
    }
    const int64_t count = std::min(kStrip, x.rows - first_);
    strip(picture, first_, {x.row(first_), count, c_.width});
    first_ += count;
  } else {
    pool(picture, x);
    first_ = x.rows;
  }
  if (first_ < x.rows) return false;
  first_ = 0, ++picture_;
  if (picture_ < pictures_.size()) return false;
  picture_ = 0;
  if (layer_ < c_.layers) forget(tower_, tower_.weights().layers[static_cast<size_t>(layer_)]);
  return layer_++ == c_.layers;
}

void EncoderPass::begin() {
  begun_ = true;
  std::vector<int64_t> places;
  for (int64_t i = 0; i < longest_; ++i) places.push_back(i);
  turns_.fill(on_, rope_frequencies(c_.rope_base, c_.channels / 2, 1, c_.channels / 4), places.data(), longest_);
  for (size_t i = 0; i < pictures_.size(); ++i) embed(pictures_[i], stream(i));
}

void EncoderPass::begin_layer() {
  now_ = &tower_.weights().layers[static_cast<size_t>(layer_)];
  if (wide_) packed_.fill(on_, tower_, *now_);
}

// x (N, d) = input_proj(2 (pixels - 0.5)) + (position_embedding_table[0, x] + position_embedding_table[1, y])
void EncoderPass::embed(const Picture& picture, Rows<float> x) {
  const codec::Matrix& w = tower_.weights().patches;
  const codec::Matrix& table = tower_.weights().positions;
  const int64_t across = picture.width / c_.patch;
  for (int64_t first = 0; first < x.rows; first += kStrip) {
    const int64_t count = std::min(kStrip, x.rows - first);
    const Rows<float> pixels = gate_.rows(count, w.cols);
    on_.team.run(count, [&](int64_t t, int) {
      gather_squares(picture, c_.patch, false, levels_.data(), first + t, 1, pixels.row(t));
    });
    ops::linear(on_, pixels, {{&w, {x.row(first), count, c_.width}}}, quantised_);
  }
  const int64_t down = picture.height / c_.patch;
  const Rows<float> axis = axis_.rows(across + down, c_.width);
  by_row(on_, axis.rows, [&](int64_t i) {
    const int64_t row = i < across ? tower_.weights().position_row(0, i) : tower_.weights().position_row(1, i - across);
    codec::decode_row(table, row, axis.row(i));
  });
  by_row(on_, x.rows, [&](int64_t t) {
    const float *along = axis.row(t % across), *below = axis.row(across + t / across);
    float* row = x.row(t);
    for (int64_t i = 0; i < c_.width; ++i) row[i] += along[i] + below[i];
  });
}

// Each product's inputs are clamped to its own bounds; x may be overwritten. Outputs are clamped by who reads them.
void EncoderPass::multiply(Rows<float> x, const std::vector<Product>& products) {
  const Bounds& bounds = products.front().from->in;
  const auto alike = [&](const Product& p) { return p.from->in == bounds; };
  if (std::all_of(products.begin(), products.end(), alike)) {
    if (bounds.any()) by_row(on_, x.rows, [&](int64_t t) { clamp(bounds, x.cols, x.row(t)); });
    multiply_clamped(x, products);
    return;
  }
  const Rows<float> own = clipped_.rows(x.rows, x.cols);
  for (const Product& product : products) {
    by_row(on_, x.rows, [&](int64_t t) { clamp(product.from->in, x.cols, x.row(t), own.row(t)); });
    multiply_clamped(own, {product});
  }
}

void EncoderPass::multiply_clamped(Rows<const float> x, const std::vector<Product>& products) {
  std::vector<ops::Product> all;
  std::vector<ops::WideProduct> packed;
  for (const Product& p : products)
    if (wide_)
      packed.push_back({p.packed, p.y});
    else
      all.push_back({&p.from->w, p.y});
  if (wide_)
    ops::linear(on_, x, packed, input_);
  else
    ops::linear(on_, x, all, quantised_);
}

// The first half of a head turns with the patch's column, the second with its row.
void EncoderPass::turn(const Picture& picture, int64_t patch, float* head) const {
  const int64_t across = picture.width / c_.patch, half = c_.channels / 2;
  for (const int64_t place : {patch % across, patch / across}) {
    on_.kernels.rope(head, turns_.cos.data() + place * turns_.half, turns_.sin.data() + place * turns_.half, half,
                     head);
    head += half;
  }
}

// k, v (N, H C) = turned k_norm(k_proj(h)), v_norm(v_proj(h)) of h = input_layernorm(x), into the pages
void EncoderPass::keys_and_values(const Picture& picture, Rows<const float> x) {
  if (wide_)  // a normalised value is at most the root of their number
    keys_.reserve(x.rows, c_.heads, c_.channels, std::sqrt(static_cast<float>(c_.channels)));
  else
    pages_.reserve(c_, x.rows);
  begin_.assign(static_cast<size_t>(x.rows), 0), end_.assign(static_cast<size_t>(x.rows), x.rows);
  for (int64_t first = 0; first < x.rows; first += kStrip) {
    const int64_t count = std::min(kStrip, x.rows - first), columns = c_.heads * c_.channels;
    const Rows<float> h = h_.rows(count, c_.width), k = k_.rows(count, columns), v = v_.rows(count, columns);
    ops::norm(on_, {x.row(first), count, c_.width}, now_->attn_norm, c_.eps, h);
    multiply(h, {{&now_->k, &packed_.k, k}, {&now_->v, &packed_.v, v}});
    by_row(on_, count, [&](int64_t t) {
      clamp(now_->k.out, columns, k.row(t)), clamp(now_->v.out, columns, v.row(t));
      for (int64_t head = 0; head < c_.heads; ++head) {
        float *key = k.row(t) + head * c_.channels, *value = v.row(t) + head * c_.channels;
        on_.kernels.rms_norm(key, now_->k_norm, c_.eps, c_.channels, key);
        turn(picture, first + t, key);
        on_.kernels.rms_norm(value, nullptr, c_.eps, c_.channels, value);
        if (wide_)
          keys_.store(on_.kernels, first + t, head, key, value);
        else
          pages_.store(on_.kernels, first + t, head, key, value);
      }
    });
  }
}

// x += rms_norm(clamp(h)) * weight
void EncoderPass::add_normed(Rows<float> h, const ClippedMatrix& from, const float* weight, Rows<float> x) const {
  by_row(on_, x.rows, [&](int64_t t) {
    clamp(from.out, h.cols, h.row(t));
    on_.kernels.add_rms_norm(h.row(t), weight, c_.eps, h.cols, x.row(t));
  });
}

void EncoderPass::strip(const Picture& picture, int64_t first, Rows<float> x) {
  const int64_t columns = c_.heads * c_.channels;
  const Rows<float> h = h_.rows(x.rows, c_.width), q = q_.rows(x.rows, columns), heads = k_.rows(x.rows, columns);
  // 1. attention: x += post_attention_layernorm(o_proj(attention(input_layernorm(x))))
  ops::norm(on_, x, now_->attn_norm, c_.eps, h);
  multiply(h, {{&now_->q, &packed_.q, q}});
  by_row(on_, x.rows, [&](int64_t t) {
    clamp(now_->q.out, columns, q.row(t));
    for (float* head = q.row(t); head < q.row(t) + columns; head += c_.channels) {
      on_.kernels.rms_norm(head, now_->q_norm, c_.eps, c_.channels, head);
      turn(picture, first + t, head);
    }
  });
  if (wide_)
    ops::attention(on_, q, keys_, 1.0F, heads);
  else
    ops::attention(on_, {{q, pages_.view(), begin_.data(), end_.data(), heads}}, 1.0F);
  multiply(heads, {{&now_->o, &packed_.o, h}});
  add_normed(h, now_->o, now_->attn_post_norm, x);
  // 2. feed-forward: x += post_feedforward_layernorm(down(gelu(gate(z)) * up(z))), z = pre_feedforward_layernorm(x)
  ops::norm(on_, x, now_->ffn_norm, c_.eps, h);
  feed_forward(x, h);
}

void EncoderPass::feed_forward(Rows<float> x, Rows<float> h) {
  const Rows<float> gate = gate_.rows(x.rows, c_.ffn), up = up_.rows(x.rows, c_.ffn);
  multiply(h, {{&now_->gate, &packed_.gate, gate}, {&now_->up, &packed_.up, up}});
  by_row(on_, x.rows, [&](int64_t t) {
    clamp(now_->gate.out, c_.ffn, gate.row(t)), clamp(now_->up.out, c_.ffn, up.row(t));
    on_.kernels.gelu_mul(gate.row(t), up.row(t), c_.ffn, gate.row(t));
  });
  multiply(gate, {{&now_->down, &packed_.down, h}});
  add_normed(h, now_->down, now_->ffn_post_norm, x);
}

// tokens (n, D) = embedding_projection(rms_norm((sqrt(d) mean of pool x pool patches - std_bias) * std_scale))
void EncoderPass::pool(const Picture& picture, Rows<const float> x) {
  const VisionWeights& w = tower_.weights();
  const int64_t across = picture.width / c_.patch, cells = across / c_.pool;
  const int64_t tokens = cells * (picture.height / c_.side());
  const float share = 1.0F / static_cast<float>(c_.pool * c_.pool);
  const auto root = static_cast<float>(std::sqrt(static_cast<double>(c_.width)));
  for (int64_t first = 0; first < tokens; first += kStrip) {
    const int64_t count = std::min(kStrip, tokens - first);
    const Rows<float> h = h_.rows(count, c_.width);
    by_row(on_, count, [&](int64_t t) {
      float* sum = h.row(t);
      std::fill(sum, sum + c_.width, 0.0F);
      const int64_t corner = (first + t) / cells * c_.pool * across + (first + t) % cells * c_.pool;
      for (int64_t i = 0; i < c_.pool * c_.pool; ++i) {
        const float* patch = x.row(corner + i / c_.pool * across + i % c_.pool);
        for (int64_t j = 0; j < c_.width; ++j) sum[j] += patch[j] * share;
      }
      for (int64_t j = 0; j < c_.width; ++j) sum[j] *= root;
      if (w.std_scale != nullptr)
        for (int64_t j = 0; j < c_.width; ++j) sum[j] = (sum[j] - w.std_bias[j]) * w.std_scale[j];
      on_.kernels.rms_norm(sum, nullptr, c_.eps, c_.width, sum);
    });
    ops::linear(on_, h, {{&w.projection, {picture.tokens + first * c_.out, count, c_.out}}}, quantised_);
  }
}

}  // namespace

std::unique_ptr<VisionPass> encoder_pass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures) {
  return std::make_unique<EncoderPass>(tower, on, std::move(pictures));
}

}  // namespace gemlet::model
