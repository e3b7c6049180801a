// Whisper (Radford et al. 2022): 30 seconds of sound through the encoder, once; then text, token by token, through the
// decoder, which looks at all that was heard. Read-only and shared; what belongs to one sound or one text is apart from it.
// Letters: D width, H heads, C channels a head, V vocabulary, T tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/tensor.h"
#include "model/whisper_weights.h"
#include "ops/ops.h"

namespace gemlet::model {

class WhisperModel {
 public:
  // Products are made in fewer bits unless `on` computes in floats. Throws BadFile, UnsupportedModel.
  WhisperModel(std::shared_ptr<const WhisperFile> file, ops::Context& on);
  const WhisperConfig& config() const { return file_->config(); }
  const WhisperWeights& weights() const { return weights_; }
  const WhisperFile& file() const { return *file_; }
  bool quick() const { return quick_; }

 private:
  std::shared_ptr<const WhisperFile> file_;
  bool quick_;
  WhisperWeights weights_;
};

// Keys and values that attention reads, all of them written before it does.
class HeadPages {
 public:
  void reserve(ops::KvType type, int64_t heads, int64_t channels, int64_t keys);
  const ops::KvPages& view() const { return view_; }
  // k, v (H C), each with its bias added; null: none.
  void store(const kernels::Table& kernels, int64_t key, const float* k, const float* v);
  size_t bytes() const { return bytes_.bytes(); }

 private:
  Buffer<uint8_t> bytes_;
  std::vector<const uint8_t*> k_, v_;
  ops::KvPages view_{};
  size_t head_ = 0;
};

// Inputs of products, as they are multiplied.
struct WhisperInput {
  ops::Quantised quantised;
  ops::WideInput wide;
};
// y (n, out) = x (n, in) . w^T of several with the same x, without their biases.
void multiply(ops::Context& on, Rows<const float> x,
              const std::vector<std::pair<const WhisperLinear*, Rows<float>>>& products, WhisperInput& input);
// x (n, D) += h + bias
void add_biased(ops::Context& on, Rows<const float> h, const float* bias, Rows<float> x);
void layer_norm(ops::Context& on, Rows<const float> x, const WhisperNorm& norm, Rows<float> y);
// x = gelu(x + bias)
void gelu_biased(ops::Context& on, const float* bias, Rows<float> x);
void add_bias(const float* bias, int64_t n, float* x);
float attention_scale(int64_t channels);

// What was heard in a window: the encoder's output, and the keys and values that each layer of the decoder makes of it.
struct Heard {
  int64_t places = 0;             // 1500, or fewer of a shorter window
  Buffer<float> features;         // (places, D)
  std::vector<HeadPages> layers;  // of the decoder
};

// What the encoder needs while it works; nothing in it outlasts a step, so all passes of an engine share one.
struct WhisperEncoderScratch {
  Buffer<float> frames;  // (1 + n + 1, mels), silence around
  Buffer<float> h, q, k, v, up;
  HeadPages pages;
  ops::WideKeys keys;  // instead of pages, of 16 bits
  WhisperInput input;
};

// One window on its way through the encoder.
class WhisperEncoderPass {
 public:
  // All but the frames must outlive it; they are read here. frames (n, mels): 3000, or fewer, an even number.
  WhisperEncoderPass(const WhisperModel& model, ops::Context& on, Rows<const float> frames,
                     WhisperEncoderScratch& scratch, Heard& heard);
  // The next part of the work: true once done. Bounded, so that between two parts a caller can be cancelled.
  bool step();

 private:
  void convolve(Rows<const float> frames);
  void layer(const WhisperLayer& l);
  void attend(const WhisperAttention& a);
  void keep(const WhisperAttention& cross, HeadPages& pages);
  float largest(Rows<const float> x) const;

  const WhisperModel& model_;
  const WhisperConfig& c_;
  ops::Context& on_;
  WhisperEncoderScratch& s_;
  Heard& heard_;
  int64_t step_ = 0;
  Rows<float> x_;  // (places, D), the stream: the features in the end
  std::vector<int64_t> begin_, end_;
};

// The memory of texts' keys and values, which goes from text to text: pages that come and go by the heap leave it in
// pieces, more of them with every hour. One per engine, which all its caches use on one thread and none outlives.
class WhisperPages {
 public:
  using Page = Buffer<uint8_t>;
  explicit WhisperPages(const WhisperConfig& c);
  WhisperPages(const WhisperPages&) = delete;
  WhisperPages& operator=(const WhisperPages&) = delete;
  // From now on as many are kept as `texts` of at most `tokens` each, after the same prompt, can need. Those of a small
  // model are made at once, and of a large one as they are needed.
  void reserve(int64_t texts, int64_t tokens);
  // A page, unwritten, that comes back by itself; beyond what is kept it is freed then.
  std::shared_ptr<Page> take();
  int64_t kept() const { return kept_; }
  int64_t spare() const { return static_cast<int64_t>(spare_.size()); }

 private:
  struct GiveBack {
    WhisperPages* pages;
    void operator()(Page* page) const;
  };
  Page made() const;
  int64_t bytes_, longest_, kept_ = 0;
  std::vector<Page> spare_;
};

// Keys and values of one text so far, in pages of 64 positions that copies share until one of them writes.
class WhisperCache {
 public:
  WhisperCache(const WhisperConfig& c, WhisperPages& memory);
  int64_t length() const { return length_; }
  // Room for `count` more positions that nobody else sees.
  void prepare(int64_t count);
  void advance(int64_t count) { length_ += count; }
  uint8_t* part(int64_t page, int64_t layer, bool values) const;  // (H, 64, C)
  int64_t pages() const { return static_cast<int64_t>(pages_.size()); }

 private:
  int64_t layers_, heads_, channels_;
  int64_t length_ = 0;
  WhisperPages* memory_;
  std::vector<std::shared_ptr<WhisperPages::Page>> pages_;
};

// The next tokens of one text.
struct Spoken {
  WhisperCache* cache;
  const int32_t* ids;
  int64_t count;
};

// The decoder's scratch; one per engine.
class WhisperDecoder {
 public:
  WhisperDecoder(const WhisperModel& model, ops::Context& on);
  // Runs all tokens of all texts, which heard the same, and appends them to their caches. logits (rows wanted, V): what
  // may follow those tokens, counted over all texts. Throws ContextOverflow where they do not fit.
  void run(const Heard& heard, const std::vector<Spoken>& texts, const std::vector<int64_t>& wanted,
           Rows<float> logits);

 private:
  void embed(const std::vector<Spoken>& texts, Rows<float> x);
  void self_attention(const WhisperAttention& a, int64_t layer, const std::vector<Spoken>& texts, Rows<float> x);
  void cross_attention(const WhisperAttention& a, const HeadPages& heard, Rows<float> x);
  void feed_forward(const WhisperLayer& l, Rows<float> x);

  const WhisperModel& model_;
  const WhisperConfig& c_;
  ops::Context& on_;
  Buffer<float> x_, h_, q_, k_, v_, up_;
  ops::Quantised quantised_;
  WhisperInput input_;
  std::vector<int64_t> begin_, end_, places_;
  std::vector<std::vector<const uint8_t*>> k_pages_, v_pages_;
};

}  // namespace gemlet::model
