// The weights of the part that sees, by name: matrices are views into the mapped file, vectors and the small first matrix
// are copied as float32.
#pragma once

#include <memory>
#include <vector>

#include "codec/codec.h"
#include "model/tower_reader.h"
#include "model/vision_file.h"

namespace gemlet::model {

// y = clamp(clamp(x, in) w^T, out)
struct ClippedMatrix {
  codec::Matrix w;
  Bounds in, out;
};

struct VisionLayer {
  ClippedMatrix q, k, v, o;                                            // (H C, d) three times, (d, H C)
  ClippedMatrix gate, up, down;                                        // (F, d) (F, d) (d, F)
  const float *attn_norm, *attn_post_norm, *ffn_norm, *ffn_post_norm;  // (d)
  const float *q_norm, *k_norm;                                        // (C)
};

// Of a LayerNorm.
struct WeightAndBias {
  const float *weight = nullptr, *bias = nullptr;
};

struct VisionWeights {
  codec::Matrix patches;                // (d, 3 n^2): patches of an encoder, else squares; an encoder's is float32
  const float* patches_bias = nullptr;  // (d), of the 12B
  WeightAndBias norms[3];               // the 12B's: (3 n^2), (d), (d)
  codec::Matrix positions;              // (2 n, d) or (n 2, d); see at()
  int64_t axis_step = 0, place_step = 0;
  int64_t position_row(int64_t axis, int64_t place) const { return axis * axis_step + place * place_step; }
  std::vector<VisionLayer> layers;
  const float *std_bias = nullptr, *std_scale = nullptr;  // (d)
  codec::Matrix projection;                               // (D, d)
  std::vector<std::unique_ptr<float[]>> vectors;          // what the pointers above point into
  int64_t parameters = 0;

  // Fills in the sizes that tensors say. Throws BadFile naming the tensor, UnsupportedModel for a type that is no weight.
  static VisionWeights from(const VisionFile& file, VisionConfig& config);
};

}  // namespace gemlet::model
