// The encoder of patches, in the order the reference tells it (transformers, models/gemma4/modeling_gemma4.py). Rows go
// through a layer in strips; only the stream x, and the keys and values of one picture in one layer, exist as a whole, so a
// large picture needs little memory. Letters: N patches, d width, H heads, C channels per head, F feed-forward, D the
// decoder's width.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "codec/half.h"
#include "model/config.h"
#include "model/vision_tower.h"

namespace gemlet::model {
namespace {

using kernels::kPageKeys;

constexpr int64_t kStrip = 512;  // rows that go through a layer together
constexpr int64_t kRowsPerTask = 8;
constexpr int64_t kEight = 32;  // weights of a block of 8 bits

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

int64_t padded(int64_t n) { return (n + kEight - 1) / kEight * kEight; }

void forget(const VisionTower& tower, const VisionLayer& l) {
  for (const ClippedMatrix* m : {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down}) tower.forget(m->w);
}

bool is_fast(const ops::Context& on, codec::Type type) {
  for (const kernels::Format& format : on.kernels.formats)
    if (format.type == type) return true;
  return false;
}

// A layer's matrices in 8 bits, made when the layer begins: those of 16 would otherwise be multiplied as floats. Those that
// have a fast format stay where they are. What 8 bits lose is kept, in 8 more, for the means of inputs; see correct().
class PackedLayer {
 public:
  void fill(ops::Context& on, const VisionTower& tower, const VisionLayer& from, VisionLayer& to) {
    to = from;
    ClippedMatrix* parts[] = {&to.q, &to.k, &to.v, &to.o, &to.gate, &to.up, &to.down};
    size_t bytes = 0;
    for (const ClippedMatrix* m : parts) bytes += 2 * packed_bytes(m->w);
    uint8_t* at = bytes_.reserve(static_cast<int64_t>(bytes));
    scratch_.resize(static_cast<size_t>(on.team.threads()));
    for (ClippedMatrix* m : parts) {
      const codec::Matrix file = m->w;
      if (is_fast(on, file.type)) continue;
      const size_t size = packed_bytes(file);
      m->w = {at, codec::Type::Q8_0, file.rows, padded(file.cols), size / static_cast<size_t>(file.rows)};
      m->rest = m->w;
      m->rest.data = at + size;
      pack(on, file, m->w.row_bytes, m->w.cols, at, at + size);
      at += 2 * size;
      tower.forget(file);  // before the layer needs room for its rows
    }
  }

 private:
  struct Scratch {
    Buffer<float> row, d, dsum;
    Buffer<int8_t> q;
    Buffer<int32_t> sum, sum16;
  };

  static size_t packed_bytes(const codec::Matrix& m) {
    return static_cast<size_t>(m.rows) * codec::row_bytes(codec::Type::Q8_0, padded(m.cols));
  }

  static void widen(ops::Context& on, const codec::Matrix& m, int64_t r, float* out) {
    const bool even = reinterpret_cast<uintptr_t>(m.row(r)) % sizeof(uint16_t) == 0;
    if (m.type == codec::Type::BF16 && even)
      on.kernels.widen_bf16(reinterpret_cast<const uint16_t*>(m.row(r)), m.cols, out);
    else if (m.type == codec::Type::F16 && even)
      on.kernels.widen_f16(reinterpret_cast<const uint16_t*>(m.row(r)), m.cols, out);
    else
      codec::decode_row(m, r, out);
  }

  // row (cols) -> blocks of 8 bits; what they lack takes its place.
  static void pack_row(ops::Context& on, float* row, int64_t cols, uint8_t* out, Scratch& s) {
    const int64_t blocks = cols / kEight;
    const kernels::QuantRows q{s.q.reserve(cols),           s.d.reserve(blocks),    s.sum.reserve(blocks),
                               s.sum16.reserve(blocks * 2), s.dsum.reserve(blocks), blocks};
    on.kernels.quantize(row, cols, q);
    for (int64_t b = 0; b < blocks; ++b, out += sizeof(codec::BlockQ8_0)) {
      const uint16_t bits = codec::float_to_half(q.d[b]);
      const float scale = codec::half_to_float(bits);
      std::memcpy(out, &bits, sizeof bits);
      std::memcpy(out + sizeof bits, q.q + b * kEight, kEight);
      for (int64_t i = b * kEight; i < (b + 1) * kEight; ++i) row[i] -= scale * static_cast<float>(q.q[i]);
    }
  }

  void pack(ops::Context& on, const codec::Matrix& from, size_t row_bytes, int64_t cols, uint8_t* to, uint8_t* rest) {
    constexpr int64_t kRows = 64;
    on.team.run((from.rows + kRows - 1) / kRows, [&](int64_t task, int worker) {
      Scratch& s = scratch_[static_cast<size_t>(worker)];
      float* row = s.row.reserve(cols);
      for (int64_t r = task * kRows; r < std::min(from.rows, (task + 1) * kRows); ++r) {
        std::fill(row + from.cols, row + cols, 0.0F);
        widen(on, from, r, row);
        pack_row(on, row, cols, to + static_cast<size_t>(r) * row_bytes, s);
        pack_row(on, row, cols, rest + static_cast<size_t>(r) * row_bytes, s);
      }
    });
  }

  Buffer<uint8_t> bytes_;
  std::vector<Scratch> scratch_;
};

// Keys and values of one picture in one layer, as attention reads them.
class Pages {
 public:
  void reserve(const VisionConfig& c, ops::KvType type, int64_t patches) {
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
    const bool whole = c_.width % kEight == 0 && c_.heads * c_.channels % kEight == 0;
    integers_ = !on.float_compute && type != codec::Type::F32 && whole;
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
  using Products = std::vector<std::pair<const ClippedMatrix*, Rows<float>>>;
  void multiply(Rows<float> x, const Products& products);
  void multiply_clamped(Rows<const float> x, const Products& products);
  void correct(Rows<const float> x, const Products& products);
  void add_normed(Rows<float> h, const ClippedMatrix& from, const float* weight, Rows<float> x) const;

  const VisionTower& tower_;
  const VisionConfig& c_;
  ops::Context& on_;
  std::vector<Picture> pictures_;
  std::vector<int64_t> first_row_;
  int64_t longest_ = 0;    // patches of the longest edge
  bool integers_ = false;  // 8-bit products; float32 weights are multiplied as they are
  std::array<float, 256> levels_{};
  Rows<float> x_all_;
  // where the pass stands
  bool begun_ = false;
  int64_t layer_ = 0, first_ = 0;
  size_t picture_ = 0;

  VisionLayer now_{};  // the layer's matrices as they are multiplied
  PackedLayer packed_;
  Pages pages_;
  ops::RopeTable turns_;
  Buffer<float> x_, h_, q_, k_, v_, gate_, up_, clipped_, axis_, mean_, shift_;
  ops::Quantised quantised_;
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
  const VisionLayer& l = tower_.weights().layers[static_cast<size_t>(layer_)];
  if (integers_)
    packed_.fill(on_, tower_, l, now_);
  else
    now_ = l;
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
void EncoderPass::multiply(Rows<float> x, const Products& products) {
  const Bounds& bounds = products.front().first->in;
  const auto alike = [&](const auto& p) { return p.first->in == bounds; };
  if (std::all_of(products.begin(), products.end(), alike)) {
    if (bounds.any()) by_row(on_, x.rows, [&](int64_t t) { clamp(bounds, x.cols, x.row(t)); });
    multiply_clamped(x, products);
    return;
  }
  const Rows<float> own = clipped_.rows(x.rows, x.cols);
  for (const auto& product : products) {
    by_row(on_, x.rows, [&](int64_t t) { clamp(product.first->in, x.cols, x.row(t), own.row(t)); });
    multiply_clamped(own, {product});
  }
}

void EncoderPass::multiply_clamped(Rows<const float> x, const Products& products) {
  std::vector<ops::Product> all;
  bool rests = false;
  for (const auto& [m, y] : products) all.push_back({&m->w, y}), rests = rests || m->rest;
  ops::linear(on_, x, all, quantised_);
  if (rests) correct(x, products);
}

// Weights in 8 bits are wrong by as much for every row. That part of a row that all rows of the strip share (their mean) is
// therefore multiplied by what the weights lost, once for all: of the error in the soft tokens, three quarters go.
void EncoderPass::correct(Rows<const float> x, const Products& products) {
  constexpr int64_t kColumns = 128;
  const Rows<float> mean = mean_.rows(1, x.cols);
  on_.team.run((x.cols + kColumns - 1) / kColumns, [&](int64_t task, int) {
    const int64_t first = task * kColumns, end = std::min(x.cols, first + kColumns);
    std::fill(mean.data + first, mean.data + end, 0.0F);
    for (int64_t t = 0; t < x.rows; ++t)
      for (int64_t i = first; i < end; ++i) mean.data[i] += x.row(t)[i];
    for (int64_t i = first; i < end; ++i) mean.data[i] /= static_cast<float>(x.rows);
  });
  for (const auto& [m, y] : products) {
    if (!m->rest) continue;
    const Rows<float> shift = shift_.rows(1, y.cols);
    ops::linear(on_, mean, {{&m->rest, shift}}, quantised_);
    by_row(on_, y.rows, [&rows = y, shift](int64_t t) {
      for (int64_t i = 0; i < rows.cols; ++i) rows.row(t)[i] += shift.data[i];
    });
  }
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
  pages_.reserve(c_, integers_ ? ops::KvType::Q8_0 : ops::KvType::F32, x.rows);
  begin_.assign(static_cast<size_t>(x.rows), 0), end_.assign(static_cast<size_t>(x.rows), x.rows);
  for (int64_t first = 0; first < x.rows; first += kStrip) {
    const int64_t count = std::min(kStrip, x.rows - first), columns = c_.heads * c_.channels;
    const Rows<float> h = h_.rows(count, c_.width), k = k_.rows(count, columns), v = v_.rows(count, columns);
    ops::norm(on_, {x.row(first), count, c_.width}, now_.attn_norm, c_.eps, h);
    multiply(h, {{&now_.k, k}, {&now_.v, v}});
    by_row(on_, count, [&](int64_t t) {
      clamp(now_.k.out, columns, k.row(t)), clamp(now_.v.out, columns, v.row(t));
      for (int64_t head = 0; head < c_.heads; ++head) {
        float *key = k.row(t) + head * c_.channels, *value = v.row(t) + head * c_.channels;
        on_.kernels.rms_norm(key, now_.k_norm, c_.eps, c_.channels, key);
        turn(picture, first + t, key);
        on_.kernels.rms_norm(value, nullptr, c_.eps, c_.channels, value);
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
  ops::norm(on_, x, now_.attn_norm, c_.eps, h);
  multiply(h, {{&now_.q, q}});
  by_row(on_, x.rows, [&](int64_t t) {
    clamp(now_.q.out, columns, q.row(t));
    for (float* head = q.row(t); head < q.row(t) + columns; head += c_.channels) {
      on_.kernels.rms_norm(head, now_.q_norm, c_.eps, c_.channels, head);
      turn(picture, first + t, head);
    }
  });
  ops::attention(on_, {{q, pages_.view(), begin_.data(), end_.data(), heads}}, 1.0F);
  multiply(heads, {{&now_.o, h}});
  add_normed(h, now_.o, now_.attn_post_norm, x);
  // 2. feed-forward: x += post_feedforward_layernorm(down(gelu(gate(z)) * up(z))), z = pre_feedforward_layernorm(x)
  ops::norm(on_, x, now_.ffn_norm, c_.eps, h);
  feed_forward(x, h);
}

void EncoderPass::feed_forward(Rows<float> x, Rows<float> h) {
  const int64_t room = now_.down.w.cols;  // of rows in whole blocks; what is beyond F is zero
  const Rows<float> whole = gate_.rows(x.rows, room);
  const Rows<float> gate(whole.data, x.rows, c_.ffn, room), up = up_.rows(x.rows, c_.ffn);
  multiply(h, {{&now_.gate, gate}, {&now_.up, up}});
  by_row(on_, x.rows, [&](int64_t t) {
    clamp(now_.gate.out, c_.ffn, gate.row(t)), clamp(now_.up.out, c_.ffn, up.row(t));
    on_.kernels.gelu_mul(gate.row(t), up.row(t), c_.ffn, gate.row(t));
    std::fill(gate.row(t) + c_.ffn, gate.row(t) + room, 0.0F);
  });
  multiply(whole, {{&now_.down, h}});
  add_normed(h, now_.down, now_.ffn_post_norm, x);
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
