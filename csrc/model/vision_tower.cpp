// What both kinds of towers share: loading, cutting pictures into squares. And the 12B's whole way, which is short
// (transformers, models/gemma4_unified/modeling_gemma4_unified.py).
#include "model/vision_tower.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "core/error.h"

namespace gemlet::model {
namespace {

constexpr int64_t kStripSquares = 64;
constexpr double kLayerNormEps = 1e-5;

class EmbedderPass final : public VisionPass {
 public:
  EmbedderPass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures)
      : tower_(tower), on_(on), pictures_(std::move(pictures)) {
    for (size_t i = 0; i < levels_.size(); ++i) levels_[i] = static_cast<float>(i) * (1.0F / 255);
  }

  bool step() override {
    if (picture_ == pictures_.size()) return true;
    const Picture& picture = pictures_[picture_];
    const int64_t side = tower_.config().side(), total = picture.height / side * (picture.width / side);
    const int64_t count = std::min(kStripSquares, total - first_);
    embed(picture, first_, count);
    first_ += count;
    if (first_ == total) ++picture_, first_ = 0;
    if (picture_ < pictures_.size()) return false;
    tower_.forget(tower_.weights().patches), tower_.forget(tower_.weights().projection);
    return true;
  }

 private:
  // y = (x - mean) / sqrt(variance + eps) * weight + bias, by row, in place
  void layer_norm(Rows<float> x, const WeightAndBias& w) const {
    on_.team.run(x.rows, [&](int64_t t, int) {
      float* row = x.row(t);
      double sum = 0, squares = 0;
      for (int64_t i = 0; i < x.cols; ++i) sum += static_cast<double>(row[i]);
      const double mean = sum / static_cast<double>(x.cols);
      for (int64_t i = 0; i < x.cols; ++i) {
        const double apart = static_cast<double>(row[i]) - mean;
        squares += apart * apart;
      }
      const double inverse = 1 / std::sqrt(squares / static_cast<double>(x.cols) + kLayerNormEps);
      for (int64_t i = 0; i < x.cols; ++i)
        row[i] = static_cast<float>((static_cast<double>(row[i]) - mean) * inverse) * w.weight[i] + w.bias[i];
    });
  }

  void embed(const Picture& picture, int64_t first, int64_t count) {
    const VisionConfig& c = tower_.config();
    const VisionWeights& w = tower_.weights();
    const int64_t across = picture.width / c.side();
    const Rows<float> v = squares_.rows(count, w.patches.cols), z = z_.rows(count, c.width);
    gather_squares(picture, c.side(), tower_.file().planar(), levels_.data(), first, count, v.data);
    layer_norm(v, w.norms[0]);
    ops::linear(on_, v, {{&w.patches, z}}, quantised_);
    for (int64_t t = 0; t < count; ++t)
      for (int64_t i = 0; i < c.width; ++i) z.row(t)[i] += w.patches_bias[i];
    layer_norm(z, w.norms[1]);
    const Rows<float> axis = axis_.rows(2, c.width);
    for (int64_t t = 0; t < count; ++t) {
      codec::decode_row(w.positions, w.position_row(0, (first + t) % across), axis.row(0));
      codec::decode_row(w.positions, w.position_row(1, (first + t) / across), axis.row(1));
      for (int64_t i = 0; i < c.width; ++i) z.row(t)[i] += axis.row(0)[i] + axis.row(1)[i];
    }
    layer_norm(z, w.norms[2]);
    ops::norm(on_, z, nullptr, c.eps, z);
    ops::linear(on_, z, {{&w.projection, {picture.tokens + first * c.out, count, c.out}}}, quantised_);
  }

  const VisionTower& tower_;
  ops::Context& on_;
  std::vector<Picture> pictures_;
  std::array<float, 256> levels_{};
  size_t picture_ = 0;
  int64_t first_ = 0;
  Buffer<float> squares_, z_, axis_;
  ops::Quantised quantised_;
};

}  // namespace

VisionTower::VisionTower(std::shared_ptr<const VisionFile> file, int64_t out)
    : file_(std::move(file)), config_(file_->config()), weights_(VisionWeights::from(*file_, config_)) {
  const auto refuse = [&](const std::string& problem) {
    throw BadFile(cat(file_->format(), ": '", file_->path(), "': ", problem));
  };
  if (config_.out != out)
    refuse(cat("its soft tokens have ", config_.out, " values, the model's ", out, "; it belongs to another model"));
  if (config_.encoder && (config_.channels % 4 != 0 || config_.channels < 8))
    refuse(cat("heads of ", config_.channels, " channels cannot be turned in two directions"));
}

void VisionTower::forget(const codec::Matrix& m) const {
  for (const auto& file : file_->files()) file->forget(m.data, static_cast<size_t>(m.rows) * m.row_bytes);
}

void gather_squares(const Picture& picture, int64_t side, bool planar, const float* levels, int64_t first,
                    int64_t count, float* rows) {
  const int64_t across = picture.width / side, area = side * side;
  for (int64_t t = 0; t < count; ++t) {
    const uint8_t* corner =
        picture.pixels + ((first + t) / across * side * picture.width + (first + t) % across * side) * 3;
    float* out = rows + t * area * 3;
    for (int64_t y = 0; y < side; ++y) {
      const uint8_t* in = corner + y * picture.width * 3;
      if (!planar) {
        for (int64_t i = 0; i < side * 3; ++i) out[y * side * 3 + i] = levels[in[i]];
        continue;
      }
      for (int64_t x = 0; x < side; ++x)
        for (int64_t colour = 0; colour < 3; ++colour) out[colour * area + y * side + x] = levels[in[x * 3 + colour]];
    }
  }
}

std::unique_ptr<VisionPass> embedder_pass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures) {
  return std::make_unique<EmbedderPass>(tower, on, std::move(pictures));
}

std::unique_ptr<VisionPass> vision_pass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures) {
  const VisionConfig& c = tower.config();
  const int64_t unit = c.encoder ? c.patch : c.side();
  for (const Picture& p : pictures) {
    if (p.height < 1 || p.width < 1 || p.height % c.side() != 0 || p.width % c.side() != 0)
      throw BadArgument(
          cat("picture: expected whole squares of ", c.side(), " pixels, got ", p.width, " x ", p.height));
    if (std::max(p.height, p.width) / unit > c.positions)
      throw BadArgument(cat("picture: ", p.width, " x ", p.height, " pixels have more than the ", c.positions,
                            " positions each way that the model knows; ask for fewer tokens"));
  }
  return c.encoder ? encoder_pass(tower, on, std::move(pictures)) : embedder_pass(tower, on, std::move(pictures));
}

}  // namespace gemlet::model
