// The names are those that llama.cpp and this project's own reader look for.
#include "quantize/metadata.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "text/word_split.h"

namespace gemlet::quantize {
namespace {

using formats::GgufHeader;
using text::PieceKind;

constexpr float kUseless = -1000.0F;  // the score of every piece that merges by rank
constexpr uint32_t kQuantisationVersion = 2;

uint32_t number(int64_t value) { return static_cast<uint32_t>(value); }

// One number where all layers agree, else one for each.
template <class Of>
void add_by_layer(GgufHeader& into, const std::string& key, const model::Config& c, const Of& of) {
  std::vector<int32_t> values;
  for (const model::LayerConfig& layer : c.layers) values.push_back(static_cast<int32_t>(of(layer)));
  const bool same = std::all_of(values.begin(), values.end(), [&](int32_t v) { return v == values.front(); });
  if (same)
    into.add_uint32(key, static_cast<uint32_t>(values.front()));
  else
    into.add_int32s(key, values);
}

int64_t channels_of(const model::Config& c, bool sliding) {
  for (const model::LayerConfig& layer : c.layers)
    if (layer.sliding == sliding) return layer.channels;
  return c.layers.front().channels;
}

void add_gemma4(GgufHeader& into, const std::string& p, const model::Config& c) {
  const int64_t full = channels_of(c, false), near = channels_of(c, true);
  int64_t shared = 0;
  std::vector<bool> sliding;
  for (size_t i = 0; i < c.layers.size(); ++i) {
    shared += c.layers[i].kv_source != static_cast<int64_t>(i) ? 1 : 0;
    sliding.push_back(c.layers[i].sliding);
  }
  into.add_uint32(p + "embedding_length_per_layer_input", number(c.per_layer));
  into.add_uint32(p + "attention.key_length", number(full));
  into.add_uint32(p + "attention.value_length", number(full));
  into.add_uint32(p + "attention.key_length_swa", number(near));
  into.add_uint32(p + "attention.value_length_swa", number(near));
  into.add_bools(p + "attention.sliding_window_pattern", sliding);
  into.add_uint32(p + "attention.shared_kv_layers", number(shared));
  into.add_float32(p + "rope.freq_base_swa", static_cast<float>(c.rope_base_sliding));
  into.add_uint32(p + "rope.dimension_count", number(full));
  into.add_uint32(p + "rope.dimension_count_swa", number(near));
  into.add_float32(p + "final_logit_softcapping", c.logit_cap);
  if (c.experts == 0) return;
  into.add_uint32(p + "expert_count", number(c.experts));
  into.add_uint32(p + "expert_used_count", number(c.experts_used));
  into.add_uint32(p + "expert_feed_forward_length", number(c.expert_ffn));
}

void add_gemma3(GgufHeader& into, const std::string& p, const model::Config& c) {
  const int64_t channels = c.layers.front().channels;
  into.add_uint32(p + "attention.key_length", number(channels));
  into.add_uint32(p + "attention.value_length", number(channels));
  if (c.rope_base_sliding != 1e4) into.add_float32(p + "rope.freq_base_swa", static_cast<float>(c.rope_base_sliding));
  if (c.rope_factor == 1) return;
  into.add_text(p + "rope.scaling.type", "linear");
  into.add_float32(p + "rope.scaling.factor", static_cast<float>(c.rope_factor));
}

void add_sizes(GgufHeader& into, const model::Config& c) {
  const std::string p = c.architecture + ".";
  into.add_uint32(p + "context_length", number(c.context));
  into.add_uint32(p + "embedding_length", number(c.width));
  into.add_uint32(p + "block_count", number(static_cast<int64_t>(c.layers.size())));
  add_by_layer(into, p + "feed_forward_length", c, [](const model::LayerConfig& l) { return l.ffn; });
  add_by_layer(into, p + "attention.head_count", c, [](const model::LayerConfig& l) { return l.heads; });
  add_by_layer(into, p + "attention.head_count_kv", c, [](const model::LayerConfig& l) { return l.kv_heads; });
  into.add_uint32(p + "attention.sliding_window", number(c.window));
  into.add_float32(p + "attention.layer_norm_rms_epsilon", c.eps);
  into.add_float32(p + "rope.freq_base", static_cast<float>(c.rope_base_full));
  if (c.architecture == "gemma3")
    add_gemma3(into, p, c);
  else
    add_gemma4(into, p, c);
}

// Runs of space marks are ordinary pieces here: in GGUF, user-defined ones would print their marks.
int32_t kind_of(const text::Vocabulary& vocabulary, size_t id) {
  int32_t kind = static_cast<int32_t>(PieceKind::Normal);
  if (vocabulary.kinds != nullptr) std::memcpy(&kind, vocabulary.kinds + id, sizeof kind);
  const bool marked = vocabulary.pieces[id].find(text::kSpaceMark) != std::string_view::npos;
  if (kind == static_cast<int32_t>(PieceKind::UserDefined) && marked) return static_cast<int32_t>(PieceKind::Normal);
  return kind;
}

void add_vocabulary(GgufHeader& into, const text::Vocabulary& vocabulary, int64_t rows) {
  const std::string p = "tokenizer.ggml.";
  std::vector<std::string_view> pieces = vocabulary.pieces;
  std::vector<int32_t> kinds;
  std::vector<std::string> fillers;  // every row of the embedding has a name; empty ones would be equal
  fillers.reserve(static_cast<size_t>(rows));
  pieces.resize(std::max(pieces.size(), static_cast<size_t>(rows)));
  for (size_t id = 0; id < pieces.size(); ++id) {
    if (!pieces[id].empty()) {
      kinds.push_back(kind_of(vocabulary, id));
      continue;
    }
    fillers.push_back("[PAD" + std::to_string(id) + "]");
    pieces[id] = fillers.back();
    kinds.push_back(static_cast<int32_t>(PieceKind::Unused));
  }
  into.add_text(p + "model", "gemma4");
  into.add_texts(p + "tokens", pieces);
  into.add_float32s(p + "scores", std::vector<float>(pieces.size(), kUseless));
  into.add_int32s(p + "token_type", kinds);
  into.add_texts(p + "merges", vocabulary.merges);
  const std::pair<const char*, int32_t> marks[] = {
      {"bos", vocabulary.bos}, {"eos", vocabulary.eos}, {"unknown", vocabulary.unk}, {"padding", vocabulary.pad}};
  for (const auto& [name, id] : marks)
    if (id >= 0) into.add_uint32(p + name + "_token_id", static_cast<uint32_t>(id));
  into.add_bool(p + "add_bos_token", true);
  into.add_bool(p + "add_space_prefix", false);
}

void add_generation(GgufHeader& into, const model::GenerationDefaults& defaults, int32_t eos,
                    const std::vector<int32_t>& suppress) {
  const std::string p = "general.sampling.";
  if (defaults.temperature) into.add_float32(p + "temp", static_cast<float>(*defaults.temperature));
  if (defaults.top_k) into.add_uint32(p + "top_k", static_cast<uint32_t>(*defaults.top_k));
  if (defaults.top_p) into.add_float32(p + "top_p", static_cast<float>(*defaults.top_p));
  if (defaults.min_p) into.add_float32(p + "min_p", static_cast<float>(*defaults.min_p));
  // The format has a place for three; readers add those that they know by name.
  std::vector<int32_t> others;
  for (const int32_t id : defaults.end_ids)
    if (id != eos) others.push_back(id);
  const char* places[] = {"tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"};
  for (size_t i = 0; i < std::min<size_t>(others.size(), 2); ++i)
    into.add_uint32(places[i], static_cast<uint32_t>(others[i]));
  if (!suppress.empty()) into.add_int32s("tokenizer.ggml.suppress_tokens", suppress);
}

void add_quantisation(GgufHeader& into, const Policy& policy) {
  into.add_uint32("general.file_type", policy.file_type);
  into.add_uint32("general.quantization_version", kQuantisationVersion);
}

}  // namespace

void describe(const model::Checkpoint& from, const model::Config& sizes, const text::Vocabulary& vocabulary,
              const Policy& policy, GgufHeader& into) {
  into.add_text("general.architecture", sizes.architecture);
  into.add_text("general.type", "model");
  into.add_text("general.name", sizes.name);
  add_quantisation(into, policy);
  add_sizes(into, sizes);
  add_vocabulary(into, vocabulary, sizes.vocabulary);
  add_generation(into, from.generation(), vocabulary.eos, sizes.suppress);
  if (const auto text = from.chat_template()) into.add_text("tokenizer.chat_template", *text);
}

void copy_description(const formats::Gguf& from, const Policy& policy, GgufHeader& into) {
  for (const auto& [key, value] : from.metadata())
    if (key != "general.file_type" && key != "general.quantization_version" && key != "general.alignment" &&
        key.rfind("split.", 0) != 0)
      into.add_value(key, value);
  add_quantisation(into, policy);
}

}  // namespace gemlet::quantize
