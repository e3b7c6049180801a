// The decoder, one step of some texts at once: each looks back at its own tokens, all look at the same sound.
#include <algorithm>
#include <utility>

#include "core/error.h"
#include "model/whisper_model.h"

namespace gemlet::model {

using kernels::kPageKeys;

// Room for the longest prompt, so that a longer one than before moves nothing.
WhisperDecoder::WhisperDecoder(const WhisperModel& model, ops::Context& on)
    : model_(model), c_(model.config()), on_(on) {
  for (Buffer<float>* one : {&x_, &h_, &q_, &k_, &v_}) one->reserve(c_.positions * c_.width);
  up_.reserve(c_.positions * c_.decoder_ffn);
}

void WhisperDecoder::run(const Heard& heard, const std::vector<Spoken>& texts, const std::vector<int64_t>& wanted,
                         Rows<float> logits) {
  const WhisperWeights& w = model_.weights();
  int64_t tokens = 0;
  for (const Spoken& text : texts) {
    tokens += text.count;
    if (text.cache->length() + text.count > c_.positions)
      throw ContextOverflow(cat("whisper: ", text.cache->length() + text.count, " tokens do not fit the model's ",
                                c_.positions, "; shorten the prompt"));
    text.cache->prepare(text.count);
  }
  const Rows<float> x = x_.rows(tokens, c_.width);
  embed(texts, x);
  places_.assign(static_cast<size_t>(x.rows), heard.places);
  for (size_t i = 0; i < w.decoder.size(); ++i) {
    self_attention(w.decoder[i].self, static_cast<int64_t>(i), texts, x);
    cross_attention(w.decoder[i].cross, heard.layers[i], x);
    feed_forward(w.decoder[i], x);
  }
  for (const Spoken& text : texts) text.cache->advance(text.count);
  if (wanted.empty()) return;
  const Rows<float> h = h_.rows(static_cast<int64_t>(wanted.size()), c_.width);
  for (int64_t i = 0; i < h.rows; ++i) {
    const float* from = x.row(wanted[static_cast<size_t>(i)]);
    std::copy(from, from + c_.width, h.row(i));
  }
  layer_norm(on_, h, w.decoder_norm, h);
  ops::linear(on_, h, {{&w.head, logits}}, quantised_);
}

// x (T, D) = embed_tokens[ids] + embed_positions
void WhisperDecoder::embed(const std::vector<Spoken>& texts, Rows<float> x) {
  const WhisperWeights& w = model_.weights();
  begin_.assign(static_cast<size_t>(x.rows), 0), end_.clear();
  int64_t row = 0;
  for (const Spoken& text : texts)
    for (int64_t i = 0; i < text.count; ++i, ++row) {
      const int64_t position = text.cache->length() + i;
      if (text.ids[i] < 0 || text.ids[i] >= c_.vocabulary)
        throw BadArgument(cat("token ", text.ids[i], " is outside the vocabulary, 0 to ", c_.vocabulary - 1));
      codec::decode_row(w.tokens, text.ids[i], x.row(row));
      add_bias(w.positions + position * c_.width, c_.width, x.row(row));
      end_.push_back(position + 1);
    }
}

void WhisperDecoder::self_attention(const WhisperAttention& a, int64_t layer, const std::vector<Spoken>& texts,
                                    Rows<float> x) {
  const int64_t heads = c_.decoder_heads, channels = c_.width / heads;
  const Rows<float> h = h_.rows(x.rows, c_.width), q = q_.rows(x.rows, c_.width);
  const Rows<float> k = k_.rows(x.rows, c_.width), v = v_.rows(x.rows, c_.width);
  layer_norm(on_, x, a.norm, h);
  multiply(on_, h, {{&a.q, q}, {&a.k, k}, {&a.v, v}}, input_);
  const size_t head = ops::head_bytes(ops::KvType::F32, channels);
  std::vector<ops::Attention> all;
  k_pages_.resize(texts.size()), v_pages_.resize(texts.size());
  int64_t row = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const WhisperCache& cache = *texts[i].cache;
    auto &keys = k_pages_[i], &values = v_pages_[i];
    keys.clear(), values.clear();
    for (int64_t page = 0; page < cache.pages(); ++page)
      keys.push_back(cache.part(page, layer, false)), values.push_back(cache.part(page, layer, true));
    const ops::KvPages view{keys.data(), values.data(), ops::KvType::F32, heads, channels, channels};
    const int64_t first = row;
    for (int64_t t = 0; t < texts[i].count; ++t, ++row) {
      const int64_t position = cache.length() + t, page = position / kPageKeys;
      add_bias(a.q.bias, c_.width, q.row(row)), add_bias(a.v.bias, c_.width, v.row(row));
      uint8_t *key = cache.part(page, layer, false), *value = cache.part(page, layer, true);
      for (int64_t n = 0; n < heads; ++n, key += head, value += head) {
        ops::store_key(on_.kernels, view, k.row(row) + n * channels, position % kPageKeys, key);
        ops::store_value(on_.kernels, view, v.row(row) + n * channels, position % kPageKeys, value);
      }
    }
    all.push_back({{q.row(first), texts[i].count, c_.width},
                   view,
                   begin_.data() + first,
                   end_.data() + first,
                   {h.row(first), texts[i].count, c_.width}});
  }
  ops::attention(on_, all, attention_scale(channels));
  multiply(on_, h, {{&a.out, q}}, input_);
  add_biased(on_, q, a.out.bias, x);
}

void WhisperDecoder::cross_attention(const WhisperAttention& a, const HeadPages& heard, Rows<float> x) {
  const Rows<float> h = h_.rows(x.rows, c_.width), q = q_.rows(x.rows, c_.width);
  layer_norm(on_, x, a.norm, h);
  multiply(on_, h, {{&a.q, q}}, input_);
  for (int64_t t = 0; t < x.rows; ++t) add_bias(a.q.bias, c_.width, q.row(t));
  ops::attention(on_, {{q, heard.view(), begin_.data(), places_.data(), h}},
                 attention_scale(c_.width / c_.decoder_heads));
  multiply(on_, h, {{&a.out, q}}, input_);
  add_biased(on_, q, a.out.bias, x);
}

void WhisperDecoder::feed_forward(const WhisperLayer& l, Rows<float> x) {
  const Rows<float> h = h_.rows(x.rows, c_.width), up = up_.rows(x.rows, c_.decoder_ffn);
  layer_norm(on_, x, l.ffn_norm, h);
  multiply(on_, h, {{&l.up, up}}, input_);
  gelu_biased(on_, l.up.bias, up);
  multiply(on_, up, {{&l.down, h}}, input_);
  add_biased(on_, h, l.down.bias, x);
}

}  // namespace gemlet::model
