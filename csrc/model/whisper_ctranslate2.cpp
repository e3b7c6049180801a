// A folder of CTranslate2's with a Whisper model: sizes follow from the variables' shapes, fused matrices are cut into the
// parts that they were made of.
#include <array>
#include <cstring>
#include <filesystem>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "formats/ctranslate2.h"
#include "model/gguf_keys.h"
#include "model/whisper_file.h"

namespace gemlet::model {
namespace {

using formats::StoredType;
using formats::Variable;

// A part of Hugging Face's name, CTranslate2's, and which of how many pieces of its rows.
struct Name {
  std::string_view ours, theirs;
  int64_t piece = 0, pieces = 1;
};

constexpr std::array<Name, 15> kLayer = {{
    {"self_attn_layer_norm", "self_attention/layer_norm"},
    {"self_attn.q_proj", "self_attention/linear_0", 0, 3},
    {"self_attn.k_proj", "self_attention/linear_0", 1, 3},
    {"self_attn.v_proj", "self_attention/linear_0", 2, 3},
    {"self_attn.out_proj", "self_attention/linear_1"},
    {"encoder_attn_layer_norm", "attention/layer_norm"},
    {"encoder_attn.q_proj", "attention/linear_0"},
    {"encoder_attn.k_proj", "attention/linear_1", 0, 2},
    {"encoder_attn.v_proj", "attention/linear_1", 1, 2},
    {"encoder_attn.out_proj", "attention/linear_2"},
    {"final_layer_norm", "ffn/layer_norm"},
    {"fc1", "ffn/linear_0"},
    {"fc2", "ffn/linear_1"},
    {"conv1", "conv1"},
    {"conv2", "conv2"},
}};

constexpr std::array<Name, 5> kModel = {{
    {"layer_norm", "layer_norm"},
    {"conv1", "conv1"},
    {"conv2", "conv2"},
    {"embed_positions", "position_encodings"},
    {"embed_tokens", "embeddings"},
}};

struct Found {
  std::string name;  // in model.bin
  int64_t piece = 0, pieces = 1;
};

bool take(std::string_view& text, std::string_view start) {
  if (text.substr(0, start.size()) != start) return false;
  text.remove_prefix(start.size());
  return true;
}

// "encoder.layers.3.fc1.weight" -> "encoder/layer_3/ffn/linear_0/weight"
Found translate(std::string_view name) {
  if (name == "proj_out.weight") return {"decoder/projection/weight"};
  const std::string_view side = take(name, "encoder.") ? "encoder" : take(name, "decoder.") ? "decoder" : "";
  std::string layer;
  const bool in_layer = take(name, "layers.");
  if (in_layer) {
    const size_t dot = name.find('.');
    layer = cat("/layer_", name.substr(0, dot));
    name.remove_prefix(dot + 1);
  }
  const size_t last = name.rfind('.');
  const std::string_view module = name.substr(0, last), part = name.substr(last + 1);
  const Name* row = nullptr;
  if (in_layer)
    for (const Name& n : kLayer) row = n.ours == module ? &n : row;
  else
    for (const Name& n : kModel) row = n.ours == module ? &n : row;
  if (row == nullptr) return {};
  std::string_view theirs = part;
  if (module.find("norm") != std::string_view::npos) theirs = part == "weight" ? "gamma" : "beta";
  if (module == "embed_positions") theirs = "encodings";
  return {cat(side, layer, "/", row->theirs, "/", theirs), row->piece, row->pieces};
}

class CtFile final : public WhisperFile {
 public:
  CtFile(std::string path, formats::CTranslate2 model) : path_(std::move(path)), model_(std::move(model)) {
    if (model_.kind() != "WhisperSpec")
      throw UnsupportedModel(cat(format(), ": '", path_, "': expected a Whisper model, got '", model_.kind(), "'"));
    read_sizes();
  }
  const std::string& path() const override { return path_; }
  const char* format() const override { return "ctranslate2"; }
  const WhisperConfig& config() const override { return config_; }
  const char* weight_type() const override { return formats::name_of(require("decoder/embeddings/weight", 2).type); }
  WhisperTensor tensor(const std::string& name) const override;
  std::vector<std::shared_ptr<const MappedFile>> files() const override { return {model_.file()}; }

 private:
  void read_sizes();
  const Variable& require(const std::string& name, size_t dimensions) const;
  int64_t size(const std::string& name, size_t dimensions, size_t which, int64_t most) const;
  int64_t layers(const char* side) const;
  void expect(const char* name, int64_t wanted) const;
  int64_t integer(const std::string& name) const;
  const uint8_t* scale_of(const Variable& v, const Found& found, WhisperTensor& t) const;
  [[noreturn]] void refuse(const std::string& name, const std::string& problem) const {
    throw BadFile(cat(format(), ": '", model_.path(), "': variable '", name, "': ", problem));
  }

  std::string path_;
  formats::CTranslate2 model_;
  WhisperConfig config_;
};

const Variable& CtFile::require(const std::string& name, size_t dimensions) const {
  const Variable* v = model_.find(name);
  if (v == nullptr) refuse(name, "it is missing; the file is no whole Whisper model");
  if (v->shape.size() != dimensions) refuse(name, cat("expected ", dimensions, " dimensions, got ", v->shape.size()));
  return *v;
}

int64_t CtFile::size(const std::string& name, size_t dimensions, size_t which, int64_t most) const {
  const int64_t n = require(name, dimensions).shape[which];
  if (n < 1 || n > most) refuse(name, cat("expected 1 to ", most, " values each way, got ", n));
  return n;
}

// A single whole number.
int64_t CtFile::integer(const std::string& name) const {
  const Variable& v = require(name, 0);
  int64_t value = 0;
  if (v.type != StoredType::I8 && v.type != StoredType::I16 && v.type != StoredType::I32)
    refuse(name, cat("expected a whole number, got ", formats::name_of(v.type)));
  std::memcpy(&value, v.data, v.bytes);
  const int bits = 64 - 8 * static_cast<int>(v.bytes);
  return static_cast<int64_t>(static_cast<uint64_t>(value) << bits) >> bits;  // with its sign
}

int64_t CtFile::layers(const char* side) const {
  int64_t n = 0;
  while (n <= kMostLayers && model_.find(cat(side, "/layer_", n, "/ffn/linear_0/weight")) != nullptr) ++n;
  if (n < 1 || n > kMostLayers)
    throw BadFile(
        cat(format(), ": '", model_.path(), "': expected 1 to ", kMostLayers, " layers of the ", side, ", got ", n));
  return n;
}

// Settings that gemlet runs in one way only; older converters leave them out.
void CtFile::expect(const char* name, int64_t wanted) const {
  if (model_.find(name) == nullptr) return;
  const int64_t value = integer(name);
  if (value != wanted)
    throw UnsupportedModel(cat(format(), ": '", model_.path(), "': variable '", name, "': expected ", wanted, ", got ",
                               value, "; gemlet does not run such models"));
}

void CtFile::read_sizes() {
  constexpr int64_t kMostTokens = 1 << 20, kGelu = 3;
  WhisperConfig& c = config_;
  c.width = size("encoder/conv1/weight", 3, 0, kMostWidth);
  c.mels = size("encoder/conv1/weight", 3, 1, 512);
  c.places = size("encoder/position_encodings/encodings", 2, 0, 1500);
  c.encoder_layers = layers("encoder"), c.decoder_layers = layers("decoder");
  c.encoder_ffn = size("encoder/layer_0/ffn/linear_0/weight", 2, 0, kMostWidth);
  c.decoder_ffn = size("decoder/layer_0/ffn/linear_0/weight", 2, 0, kMostWidth);
  c.vocabulary = size("decoder/embeddings/weight", 2, 0, kMostTokens);
  c.positions = size("decoder/position_encodings/encodings", 2, 0, 1 << 16);
  c.encoder_heads = integer("encoder/num_heads"), c.decoder_heads = integer("decoder/num_heads");
  if (c.encoder_heads < 1 || c.encoder_heads > kMostHeads || c.decoder_heads < 1 || c.decoder_heads > kMostHeads)
    refuse("encoder/num_heads", cat("expected 1 to ", kMostHeads, ", got ", c.encoder_heads, " and ", c.decoder_heads));
  expect("decoder/activation", kGelu);
  expect("decoder/pre_norm", 1);
  expect("decoder/scale_embeddings", 0);
  expect("decoder/start_from_zero_embedding", 0);
  expect("decoder/alibi", 0);
}

// Where a matrix of integers has its scales; the part of them that belongs to a piece.
const uint8_t* CtFile::scale_of(const Variable& v, const Found& found, WhisperTensor& t) const {
  const std::string name = v.name + "_scale";
  const Variable* scale = model_.find(name);
  if (scale == nullptr) refuse(name, cat("it is missing, though '", v.name, "' is ", formats::name_of(v.type)));
  const int64_t rows = v.shape.empty() ? 1 : v.shape[0];
  if (scale->type != StoredType::F32) refuse(name, cat("expected float32, got ", formats::name_of(scale->type)));
  const auto count = static_cast<int64_t>(scale->bytes / sizeof(float));
  t.scale_by_row = count == rows && count != 1;
  if (count != 1 && count != rows) refuse(name, cat("expected ", rows, " values, one a row, or one, got ", count));
  const size_t skipped = t.scale_by_row ? static_cast<size_t>(rows / found.pieces * found.piece) * sizeof(float) : 0;
  return scale->data + skipped;
}

WhisperTensor CtFile::tensor(const std::string& name) const {
  const Found found = translate(name);
  const Variable* v = found.name.empty() ? nullptr : model_.find(found.name);
  if (v == nullptr) return {};
  WhisperTensor t;
  t.shape = v->shape, t.data = v->data;
  switch (v->type) {
    case StoredType::F32:
      t.type = WhisperTensor::Type::F32;
      break;
    case StoredType::F16:
      t.type = WhisperTensor::Type::F16;
      break;
    case StoredType::BF16:
      t.type = WhisperTensor::Type::BF16;
      break;
    case StoredType::I8:
      t.type = WhisperTensor::Type::I8;
      break;
    case StoredType::I16:
      t.type = WhisperTensor::Type::I16;
      break;
    case StoredType::I32:
      refuse(v->name, "expected weights, got int32");
  }
  if (t.type == WhisperTensor::Type::I8 || t.type == WhisperTensor::Type::I16) t.scale = scale_of(*v, found, t);
  if (found.pieces > 1) {
    if (t.shape.empty() || t.shape[0] % found.pieces != 0)
      refuse(v->name, cat("expected ", found.pieces, " parts of equal height"));
    t.shape[0] /= found.pieces;
    t.data += v->bytes / static_cast<size_t>(found.pieces) * static_cast<size_t>(found.piece);
  }
  return t;
}

}  // namespace

std::shared_ptr<const WhisperFile> whisper_of_ctranslate2(const std::string& folder) {
  const std::string file = (std::filesystem::path(folder) / "model.bin").string();
  return std::make_shared<CtFile>(folder, formats::CTranslate2::open(file));
}

}  // namespace gemlet::model
