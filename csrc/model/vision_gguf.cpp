// A GGUF file with a projector ("mmproj"): architecture clip, projector gemma4v (an encoder) or gemma4uv (the 12B's).
#include <cmath>
#include <utility>

#include "core/error.h"
#include "formats/gguf.h"
#include "model/gguf_keys.h"
#include "model/vision_file.h"

namespace gemlet::model {
namespace {

using formats::Gguf;
using formats::TensorInfo;

constexpr const char* kArchitecture = "general.architecture";
constexpr const char* kPrefix = "clip.vision.";

std::string kind_of(const Gguf& file) {
  for (const char* key : {"clip.vision.projector_type", "clip.projector_type"})
    if (file.find(key) != nullptr) return std::string(file.require_string(key));
  return "none";
}

VisionConfig encoder(const Gguf& file) {
  const GgufKeys keys(file, kPrefix);
  VisionConfig c;
  c.width = keys.integer("embedding_length", 1, kMostWidth);
  c.layers = keys.integer("block_count", 1, kMostLayers);
  c.heads = keys.integer("attention.head_count", 1, kMostHeads);
  c.ffn = keys.integer("feed_forward_length", 1, kMostWidth);
  c.patch = keys.integer_or("patch_size", 1, 1024, 16);
  c.pool = keys.integer_or("projector.scale_factor", 1, 64, 3);
  c.eps = static_cast<float>(keys.positive_or("attention.layer_norm_epsilon", 1e-6));
  if (c.width % c.heads != 0)
    throw BadFile(cat(keys.where(), ": key '", kPrefix, "embedding_length': ", c.width, " is no multiple of ", c.heads,
                      " heads"));
  c.channels = c.width / c.heads;
  return c;
}

// Its file says little, so the matrix's shape does.
VisionConfig embedder(const Gguf& file) {
  VisionConfig c;
  c.encoder = false;
  const TensorInfo* matrix = file.tensor("v.patch_embd.weight");
  int64_t pixels = 0;
  if (matrix != nullptr && matrix->shape.size() > 1) {
    c.width = matrix->shape[0], pixels = 1;
    for (size_t i = 1; i < matrix->shape.size(); ++i) pixels *= matrix->shape[i];
  }
  c.patch = static_cast<int64_t>(std::lround(std::sqrt(static_cast<double>(pixels) / 3))), c.pool = 1;
  if (pixels == 0 || c.patch * c.patch * 3 != pixels)
    throw BadFile(cat("gguf: '", file.path(), "': tensor 'v.patch_embd.weight': expected (d, 3 side^2), and it is ",
                      matrix == nullptr ? "missing" : "of another shape", "; the file is incomplete"));
  return c;
}

class VisionGguf final : public VisionFile {
 public:
  explicit VisionGguf(Gguf file) : file_(std::move(file)) {
    const std::string kind = kind_of(file_);
    if (file_.find(kArchitecture) == nullptr || file_.require_string(kArchitecture) != "clip" ||
        (kind != "gemma4v" && kind != "gemma4uv"))
      throw UnsupportedModel(cat("gguf: '", file_.path(), "': expected a projector of Gemma 4's ('clip' with ",
                                 "'gemma4v' or 'gemma4uv'), got vision projector '", kind, "'"));
    config_ = kind == "gemma4v" ? encoder(file_) : embedder(file_);
  }
  const std::string& path() const override { return file_.path(); }
  const char* format() const override { return "gguf"; }
  const VisionConfig& config() const override { return config_; }
  const TensorInfo* tensor(std::string_view name) const override { return file_.tensor(name); }
  const std::vector<std::shared_ptr<const MappedFile>>& files() const override { return file_.files(); }
  bool planar() const override { return true; }
  bool axes_first() const override { return true; }

 private:
  Gguf file_;
  VisionConfig config_;
};

}  // namespace

std::shared_ptr<const VisionFile> open_vision(const std::string& path) {
  Gguf file = Gguf::open(path);
  const bool hears = file.tensor("mm.a.input_projection.weight") != nullptr;
  if (hears && file.tensor("mm.input_projection.weight") == nullptr) return nullptr;
  return std::make_shared<VisionGguf>(std::move(file));
}

}  // namespace gemlet::model
