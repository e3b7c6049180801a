// A GGUF file with a projector ("mmproj") that hears: architecture clip, projector gemma4a (an encoder) or gemma4ua (the
// 12B's).
#include <utility>

#include "core/error.h"
#include "formats/gguf.h"
#include "model/audio_file.h"
#include "model/gguf_keys.h"

namespace gemlet::model {
namespace {

using formats::Gguf;
using formats::TensorInfo;

constexpr const char* kArchitecture = "general.architecture";
constexpr const char* kPrefix = "clip.audio.";

std::string kind_of(const Gguf& file) {
  for (const char* key : {"clip.audio.projector_type", "clip.projector_type"})
    if (file.find(key) != nullptr) return std::string(file.require_string(key));
  return "none";
}

AudioConfig encoder(const Gguf& file) {
  const GgufKeys keys(file, kPrefix);
  AudioConfig c;
  c.width = keys.integer("embedding_length", 2, kMostWidth);
  c.layers = keys.integer("block_count", 1, kMostLayers);
  c.heads = keys.integer("attention.head_count", 1, kMostHeads);
  c.ffn = keys.integer_or("feed_forward_length", 1, kMostWidth, 4 * c.width);
  c.eps = static_cast<float>(keys.positive_or("attention.layer_norm_epsilon", 1e-6));
  if (keys.integer_or("num_mel_bins", 1, 4096, c.frame) != c.frame)
    throw UnsupportedModel(cat(keys.where(), ": key '", kPrefix, "num_mel_bins': expected ", c.frame, ", got ",
                               keys.integer("num_mel_bins", 1, 4096)));
  if (c.width % c.heads != 0 || c.width % 2 != 0)
    throw BadFile(cat(keys.where(), ": key '", kPrefix, "embedding_length': expected an even multiple of ", c.heads,
                      " heads, got ", c.width));
  return c;
}

// Its file says nothing of sizes, so the matrix's shape does.
AudioConfig projection(const Gguf& file) {
  AudioConfig c;
  c.encoder = false, c.frame = 0;
  const TensorInfo* matrix = file.tensor("mm.a.input_projection.weight");
  if (matrix != nullptr && matrix->shape.size() == 2) c.frame = matrix->shape[1];
  return c;
}

class AudioGguf final : public AudioFile {
 public:
  AudioGguf(Gguf file, const std::string& kind)
      : file_(std::move(file)), config_(kind == "gemma4a" ? encoder(file_) : projection(file_)) {}
  const std::string& path() const override { return file_.path(); }
  const char* format() const override { return "gguf"; }
  const AudioConfig& config() const override { return config_; }
  const TensorInfo* tensor(std::string_view name) const override { return file_.tensor(name); }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return file_.files(); }
  bool scales_are_softplus() const override { return true; }

 private:
  Gguf file_;
  AudioConfig config_;
};

}  // namespace

std::shared_ptr<const AudioFile> open_audio(const std::string& path) {
  Gguf file = Gguf::open(path);
  const std::string kind = kind_of(file);
  if (file.find(kArchitecture) == nullptr || file.require_string(kArchitecture) != "clip")
    throw UnsupportedModel(cat("gguf: '", path, "': expected a projector (architecture 'clip')"));
  if (file.tensor("mm.a.input_projection.weight") == nullptr) return nullptr;
  if (kind != "gemma4a" && kind != "gemma4ua")
    throw UnsupportedModel(cat("gguf: '", path, "': expected a projector of sound of Gemma 4's ('gemma4a' or ",
                               "'gemma4ua'), got '", kind, "'"));
  return std::make_shared<AudioGguf>(std::move(file), kind);
}

}  // namespace gemlet::model
