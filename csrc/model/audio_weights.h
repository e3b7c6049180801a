// The weights of the part that hears, by name: matrices are views into the mapped file; vectors and the two small
// convolutions are copied as float32.
#pragma once

#include <memory>
#include <vector>

#include "codec/codec.h"
#include "model/audio_file.h"
#include "model/tower_reader.h"

namespace gemlet::model {

using Clip = Bounds;

// y = clamp(clamp(x, in) w^T, out)
struct ClippedWeight {
  codec::Matrix w;
  Clip in, out;
};

struct AudioFeedForward {
  ClippedWeight up, down;         // (F, d) (d, F)
  const float *norm, *post_norm;  // (d); the second times the residual weight
};

struct AudioLayer {
  AudioFeedForward first, second;
  ClippedWeight q, k, v, o;                       // (d, d)
  codec::Matrix relative;                         // (d, d)
  const float* q_scale;                           // (C), all factors together
  const float *attn_norm, *attn_post_norm;        // (d)
  ClippedWeight conv_in, conv_out;                // (2 d, d) (d, d)
  const float* taps;                              // (taps, d)
  const float *conv_norm, *conv_mid_norm, *norm;  // (d): before, between, and of the layer's end
};

struct AudioWeights {
  const float* conv0 = nullptr;  // (9, maps[0]): time and frequency, then maps
  codec::Matrix conv1;           // (maps[1], 9 maps[0]), float32
  const float *conv0_norm = nullptr, *conv1_norm = nullptr;
  codec::Matrix input;  // (d, bands / 4 * maps[1])
  std::vector<AudioLayer> layers;
  codec::Matrix output;                           // (middle, d)
  const float* output_bias = nullptr;             // (middle)
  codec::Matrix projection;                       // (D, middle), or (D, frame) without an encoder
  std::vector<std::unique_ptr<float[]>> vectors;  // what the pointers above point into
  int64_t parameters = 0;

  // Fills in the sizes that tensors say. Throws BadFile naming the tensor, UnsupportedModel for a type that is no weight.
  static AudioWeights from(const AudioFile& file, AudioConfig& config);
};

}  // namespace gemlet::model
