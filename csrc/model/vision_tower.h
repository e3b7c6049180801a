// The part that sees: pixels in, soft tokens out. Pictures come resized already; how large, media/image.h says. The tower is
// read-only and shared; a pass is one run through it, in parts, with memory of its own that ends with it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "model/vision_weights.h"
#include "ops/ops.h"

namespace gemlet::model {

class VisionTower {
 public:
  // Throws BadFile if the file is damaged, or made for a decoder of another width than `out`.
  VisionTower(std::shared_ptr<const VisionFile> file, int64_t out);
  const VisionConfig& config() const { return config_; }
  const VisionWeights& weights() const { return weights_; }
  const VisionFile& file() const { return *file_; }
  // The mapped bytes leave this process until they are read again.
  void forget(const codec::Matrix& m) const;

 private:
  std::shared_ptr<const VisionFile> file_;
  VisionConfig config_;
  VisionWeights weights_;
};

// A picture of whole squares, and where its soft tokens go: (height / side * width / side, D), row by row.
struct Picture {
  const uint8_t* pixels;  // (height, width, 3)
  int64_t height, width;
  float* tokens;
};

// rows (count, 3 side^2) <- squares [first, first + count) of a picture, row by row, as floats from `levels` (256). In each:
// row, column, colour; planar: colour, row, column. Exposed for tests.
void gather_squares(const Picture& picture, int64_t side, bool planar, const float* levels, int64_t first,
                    int64_t count, float* rows);

class VisionPass {
 public:
  virtual ~VisionPass() = default;
  // The next part; true once all tokens are written. Bounded work: between two parts a caller can be cancelled.
  virtual bool step() = 0;
};

// Pictures that go through together share what is done once a layer. Throws BadArgument for a picture that is not whole
// squares or larger than the table of positions. `tower`, `on` and the pictures must outlive the pass.
std::unique_ptr<VisionPass> vision_pass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures);

// The two kinds; vision_pass chooses.
std::unique_ptr<VisionPass> encoder_pass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures);
std::unique_ptr<VisionPass> embedder_pass(const VisionTower& tower, ops::Context& on, std::vector<Picture> pictures);

}  // namespace gemlet::model
