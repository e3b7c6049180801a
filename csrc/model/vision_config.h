// The sizes of the part that sees: an encoder of patches, or the embedder of the 12B, which has none.
#pragma once

#include <cstdint>

namespace gemlet::model {

// D width of the decoder; of the encoder: d width, H heads, C channels a head, F feed-forward, L layers. An image is cut into
// squares of `side` pixels, each of which becomes one token; the encoder sees them as pool x pool patches of `patch` pixels.
struct VisionConfig {
  bool encoder = true;  // false: squares go through one matrix
  int64_t width = 0;    // d
  int64_t heads = 0, channels = 0, ffn = 0, layers = 0;
  int64_t patch = 16, pool = 3;
  int64_t positions = 0;  // rows of the table of positions, for each of the two directions
  int64_t out = 0;        // D
  float eps = 1e-6F;
  double rope_base = 100;
  bool clipped = true;  // bounds beside the matrices hold; where there are none, they are infinite
  int64_t side() const { return patch * pool; }
};

}  // namespace gemlet::model
