// The encoder of sound, in the order the reference tells it (transformers, models/gemma4/modeling_gemma4.py): in each layer
// half a feed-forward, attention to the last tokens, a light convolution, and the other half. Rows go through a layer in
// strips; between two pieces a layer keeps the keys, values and convolution inputs that later tokens see. Letters: T tokens,
// d width, H heads, C channels a head, W tokens a token sees.
#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "core/error.h"
#include "model/audio_subsample.h"
#include "model/audio_tower.h"
#include "ops/wide.h"

namespace gemlet::model {
namespace {

constexpr int64_t kStrip = 832;  // rows that go through a layer together: more than 33 seconds
constexpr int64_t kRowsPerTask = 8;

// NaN stays NaN.
void clamp(const Clip& b, int64_t n, const float* x, float* y) {
  for (int64_t i = 0; i < n; ++i) {
    const float v = x[i] < b.low ? b.low : x[i];
    y[i] = v > b.high ? b.high : v;
  }
}
void clamp(const Clip& b, int64_t n, float* x) {
  if (b.any()) clamp(b, n, x, x);
}

// What a layer remembers of the tokens before.
struct LayerMemory {
  std::vector<float> keys, values;  // (at most W - 1, d)
  std::vector<float> inputs;        // (taps - 1, d) of the light convolution, zero before the sound
  std::vector<float> relative;      // (W, d): key products of the distances W - 1 to 0
};

class EncoderPass final : public AudioPass {
 public:
  EncoderPass(const AudioTower& tower, ops::Context& on)
      : c_(tower.config()),
        w_(tower.weights()),
        on_(on),
        subsample_(tower.config(), tower.weights(), on),
        channels_(c_.width / c_.heads),
        memory_(w_.layers.size()) {
    for (LayerMemory& m : memory_) m.inputs.resize(static_cast<size_t>((c_.taps - 1) * c_.width));
  }
  void begin(Rows<const float> frames, bool last) override {
    waiting_ = subsample_.feed(frames, last);
    layer_ = -1;
    tokens_ = {};
  }
  bool step() override;
  Rows<const float> tokens() const override { return tokens_; }

 private:
  template <class Work>
  void by_row(int64_t rows, const Work& work) const {
    on_.team.run((rows + kRowsPerTask - 1) / kRowsPerTask, [&](int64_t task, int) {
      const int64_t end = std::min(rows, (task + 1) * kRowsPerTask);
      for (int64_t t = task * kRowsPerTask; t < end; ++t) work(t);
    });
  }
  Clip limit() const { return {-c_.limit, c_.limit}; }
  void enter();
  void place(const AudioLayer& l, LayerMemory& m);
  void strip(const AudioLayer& l, LayerMemory& m, Rows<float> x);
  void feed_forward(const AudioFeedForward& f, Rows<float> x);
  void attend(const AudioLayer& l, LayerMemory& m, Rows<float> x);
  void attend_row(const LayerMemory& m, const float* q, Rows<const float> keys, Rows<const float> values, int64_t at,
                  float* out) const;
  void convolve(const AudioLayer& l, LayerMemory& m, Rows<float> x);
  void leave();
  using Products = std::vector<std::pair<const ClippedWeight*, Rows<float>>>;
  void multiply(Rows<float> x, const Products& products);
  void linear(Rows<const float> x, const std::vector<ops::Product>& products);
  void norm(Rows<const float> x, const float* weight, float eps, Rows<float> y) const;
  void add_normed(Rows<float> h, const Clip& out, const float* weight, Rows<float> x) const;

  const AudioConfig& c_;
  const AudioWeights& w_;
  ops::Context& on_;
  AudioSubsample subsample_;
  int64_t channels_;
  std::vector<LayerMemory> memory_;
  int64_t waiting_ = 0, layer_ = -1;
  Buffer<float> x_memory_, tokens_memory_;
  Rows<float> x_, tokens_;
  Buffer<float> flat_, h_, wide_, q_, keys_, values_, clipped_;
  ops::Quantised quantised_;
  ops::WideInput input_;
  std::array<ops::WideMatrix, 3> packed_;
};

constexpr float kNormEps = 1e-6F;  // of the norms that the configuration's does not reach

bool EncoderPass::step() {
  if (waiting_ == 0) return true;
  if (layer_ < 0) {
    enter();
  } else if (layer_ < c_.layers) {
    const auto i = static_cast<size_t>(layer_);
    const AudioLayer& l = w_.layers[i];
    if (memory_[i].relative.empty()) place(l, memory_[i]);
    for (int64_t at = 0; at < x_.rows; at += kStrip)
      strip(l, memory_[i], {x_.row(at), std::min(kStrip, x_.rows - at), c_.width});
  } else {
    leave();
    waiting_ = 0;
    return true;
  }
  ++layer_;
  return false;
}

void EncoderPass::enter() {
  x_ = x_memory_.rows(waiting_, c_.width);
  for (int64_t at = 0; at < x_.rows; at += kStrip) {
    const int64_t count = std::min(kStrip, x_.rows - at);
    const Rows<float> flat = flat_.rows(count, w_.input.cols);
    subsample_.next(flat);
    linear(flat, {{&w_.input, {x_.row(at), count, c_.width}}});
  }
}

// Distance s as a row (sin(s f_0), ..., cos(s f_0), ...), f from 1 to 1/10000, times relative_k_proj.
void EncoderPass::place(const AudioLayer& l, LayerMemory& m) {
  const int64_t half = c_.width / 2;
  const Rows<float> waves = h_.rows(c_.window, c_.width);
  const auto step = static_cast<float>(-std::log(10000.0) / static_cast<double>(std::max<int64_t>(half - 1, 1)));
  for (int64_t r = 0; r < c_.window; ++r) {
    for (int64_t i = 0; i < half; ++i) {
      const auto frequency = static_cast<float>(std::exp(static_cast<double>(static_cast<float>(i) * step)));
      const auto angle = static_cast<double>(static_cast<float>(c_.window - 1 - r) * frequency);
      waves.row(r)[i] = static_cast<float>(std::sin(angle));
      waves.row(r)[half + i] = static_cast<float>(std::cos(angle));
    }
  }
  m.relative.resize(static_cast<size_t>(c_.window * c_.width));
  linear(waves, {{&l.relative, {m.relative.data(), c_.window, c_.width}}});
}

void EncoderPass::strip(const AudioLayer& l, LayerMemory& m, Rows<float> x) {
  feed_forward(l.first, x);
  attend(l, m, x);
  convolve(l, m, x);
  feed_forward(l.second, x);
  norm(x, l.norm, kNormEps, x);
}

// y = rms_norm(clamp(x)) * weight
void EncoderPass::norm(Rows<const float> x, const float* weight, float eps, Rows<float> y) const {
  by_row(x.rows, [&](int64_t t) {
    clamp(limit(), x.cols, x.row(t), y.row(t));
    on_.kernels.rms_norm(y.row(t), weight, eps, x.cols, y.row(t));
  });
}

// x += rms_norm(clamp(h)) * weight
void EncoderPass::add_normed(Rows<float> h, const Clip& out, const float* weight, Rows<float> x) const {
  by_row(x.rows, [&](int64_t t) {
    clamp(out, h.cols, h.row(t));
    clamp(limit(), h.cols, h.row(t));
    on_.kernels.add_rms_norm(h.row(t), weight, kNormEps, h.cols, x.row(t));
  });
}

// Weights are packed when they are met: a whole layer would need as much room again as the file has.
void EncoderPass::linear(Rows<const float> x, const std::vector<ops::Product>& products) {
  std::vector<ops::WideProduct> wide;
  for (const ops::Product& p : products) {
    if (!ops::is_wide(on_, p.w->type)) {
      ops::linear(on_, x, {p}, quantised_);
      continue;
    }
    if (wide.size() == packed_.size()) throw BadArgument("linear: too many products at once");
    ops::WideMatrix& packed = packed_[wide.size()];
    packed.pack(on_, *p.w);
    wide.push_back({&packed, p.y});
  }
  ops::linear(on_, x, wide, input_);
}

// Each product's inputs are clamped to its own bounds; x may be overwritten. Outputs are clamped by who reads them.
void EncoderPass::multiply(Rows<float> x, const Products& products) {
  const Clip& bounds = products.front().first->in;
  const auto alike = [&](const auto& p) { return p.first->in == bounds; };
  if (std::all_of(products.begin(), products.end(), alike)) {
    if (bounds.any()) by_row(x.rows, [&](int64_t t) { clamp(bounds, x.cols, x.row(t)); });
    std::vector<ops::Product> all;
    for (const auto& [m, y] : products) all.push_back({&m->w, y});
    return linear(x, all);
  }
  const Rows<float> own = clipped_.rows(x.rows, x.cols);
  for (const auto& [m, y] : products) {
    by_row(x.rows, [&, in = m->in](int64_t t) { clamp(in, x.cols, x.row(t), own.row(t)); });
    linear(own, {{&m->w, y}});
  }
}

// x += post_norm(down(silu(up(norm(x))))) / 2
void EncoderPass::feed_forward(const AudioFeedForward& f, Rows<float> x) {
  const Rows<float> h = h_.rows(x.rows, c_.width), wide = wide_.rows(x.rows, c_.ffn);
  norm(x, f.norm, kNormEps, h);
  multiply(h, {{&f.up, wide}});
  by_row(x.rows, [&](int64_t t) {
    clamp(f.up.out, c_.ffn, wide.row(t));
    on_.kernels.sigmoid_mul(wide.row(t), wide.row(t), c_.ffn, wide.row(t));
  });
  multiply(wide, {{&f.down, h}});
  add_normed(h, f.down.out, f.post_norm, x);
}

void EncoderPass::attend(const AudioLayer& l, LayerMemory& m, Rows<float> x) {
  constexpr float kKeyScale = 1.8946361F;  // ln(1 + e) / ln 2
  const int64_t d = c_.width, past = static_cast<int64_t>(m.keys.size()) / d;
  const Rows<float> h = h_.rows(x.rows, d), q = q_.rows(x.rows, d);
  const Rows<float> keys = keys_.rows(past + x.rows, d), values = values_.rows(past + x.rows, d);
  std::copy(m.keys.begin(), m.keys.end(), keys.data);
  std::copy(m.values.begin(), m.values.end(), values.data);
  norm(x, l.attn_norm, kNormEps, h);
  multiply(h, {{&l.q, q}, {&l.k, {keys.row(past), x.rows, d}}, {&l.v, {values.row(past), x.rows, d}}});
  by_row(x.rows, [&](int64_t t) {
    clamp(l.q.out, d, q.row(t)), clamp(l.k.out, d, keys.row(past + t)), clamp(l.v.out, d, values.row(past + t));
    on_.kernels.scale(kKeyScale, d, keys.row(past + t));
    for (float* head = q.row(t); head < q.row(t) + d; head += channels_)
      for (int64_t i = 0; i < channels_; ++i) head[i] *= l.q_scale[i];
  });
  by_row(x.rows, [&](int64_t t) { attend_row(m, q.row(t), keys, values, past + t, h.row(t)); });
  const int64_t kept = std::min(c_.window - 1, past + x.rows), from = past + x.rows - kept;
  m.keys.assign(keys.row(from), keys.row(from) + kept * d);
  m.values.assign(values.row(from), values.row(from) + kept * d);
  multiply(h, {{&l.o, q}});
  add_normed(q, l.o.out, l.attn_post_norm, x);
}

// out (d) <- attention of one token, row `at` of the keys, to itself and the W - 1 before it.
void EncoderPass::attend_row(const LayerMemory& m, const float* q, Rows<const float> keys, Rows<const float> values,
                             int64_t at, float* out) const {
  const int64_t first = std::max<int64_t>(0, at - c_.window + 1), count = at - first + 1, d = c_.width;
  std::vector<float> scores(static_cast<size_t>(2 * c_.window));
  float *score = scores.data(), *more = score + c_.window;
  const float* relative = m.relative.data() + (c_.window - count) * d;
  for (int64_t head = 0; head < d; head += channels_) {
    on_.kernels.dot_f32(keys.row(first) + head, d, count, q + head, d, 1, channels_, score, count);
    on_.kernels.dot_f32(relative + head, d, count, q + head, d, 1, channels_, more, count);
    for (int64_t j = 0; j < count; ++j) score[j] += more[j];
    on_.kernels.softcap(c_.cap, count, score);
    const float max = *std::max_element(score, score + count);
    float sum = 0;
    for (int64_t j = 0; j < count; ++j) sum += score[j] = std::exp(score[j] - max);
    float* to = out + head;
    std::fill(to, to + channels_, 0.0F);
    for (int64_t j = 0; j < count; ++j) {
      const float share = score[j] / sum;
      const float* value = values.row(first + j) + head;
      for (int64_t i = 0; i < channels_; ++i) to[i] += share * value[i];
    }
  }
}

// x += conv_out(silu(mid_norm(taps of the last tokens(a sigmoid(b))))), [a b] = conv_in(conv_norm(x))
void EncoderPass::convolve(const AudioLayer& l, LayerMemory& m, Rows<float> x) {
  const int64_t d = c_.width, past = c_.taps - 1;
  const Rows<float> h = h_.rows(x.rows, d), pair = wide_.rows(x.rows, 2 * d), in = keys_.rows(past + x.rows, d);
  ops::norm(on_, x, l.conv_norm, c_.eps, h);
  multiply(h, {{&l.conv_in, pair}});
  std::copy(m.inputs.begin(), m.inputs.end(), in.data);
  by_row(x.rows, [&](int64_t t) {
    clamp(l.conv_in.out, 2 * d, pair.row(t));
    on_.kernels.sigmoid_mul(pair.row(t), pair.row(t) + d, d, in.row(past + t));
  });
  by_row(x.rows, [&](int64_t t) {
    float* y = h.row(t);
    std::fill(y, y + d, 0.0F);
    for (int64_t k = 0; k <= past; ++k) {
      const float *tap = l.taps + k * d, *from = in.row(t + k);
      for (int64_t i = 0; i < d; ++i) y[i] += tap[i] * from[i];
    }
    clamp(limit(), d, y);
    on_.kernels.rms_norm(y, l.conv_mid_norm, c_.eps, d, y);
    on_.kernels.sigmoid_mul(y, y, d, y);
  });
  std::copy(in.row(x.rows), in.row(x.rows) + past * d, m.inputs.begin());
  const Rows<float> y = q_.rows(x.rows, d);
  multiply(h, {{&l.conv_out, y}});
  by_row(x.rows, [&](int64_t t) {
    clamp(l.conv_out.out, d, y.row(t));
    for (int64_t i = 0; i < d; ++i) x.row(t)[i] += y.row(t)[i];
  });
}

// tokens = rms_norm(output_proj(x) + bias) projection^T
void EncoderPass::leave() {
  tokens_ = tokens_memory_.rows(x_.rows, c_.out);
  for (int64_t at = 0; at < x_.rows; at += kStrip) {
    const int64_t count = std::min(kStrip, x_.rows - at);
    const Rows<float> y = wide_.rows(count, c_.middle);
    linear({x_.row(at), count, c_.width}, {{&w_.output, y}});
    by_row(count, [&](int64_t t) {
      for (int64_t i = 0; i < c_.middle; ++i) y.row(t)[i] += w_.output_bias[i];
      on_.kernels.rms_norm(y.row(t), nullptr, c_.eps, c_.middle, y.row(t));
    });
    linear(y, {{&w_.projection, {tokens_.row(at), count, c_.out}}});
  }
}

}  // namespace

std::unique_ptr<AudioPass> audio_encoder_pass(const AudioTower& tower, ops::Context& on) {
  return std::make_unique<EncoderPass>(tower, on);
}

}  // namespace gemlet::model
