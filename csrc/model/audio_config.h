// The sizes of the part that hears: an encoder of log-mel frames, or the projection of raw samples of the 12B.
#pragma once

#include <cstdint>

namespace gemlet::model {

// D width of the decoder; of the encoder: d width, H heads, F feed-forward, L layers. Four frames become one token.
struct AudioConfig {
  bool encoder = true;  // false: frames are samples, and go through one matrix
  int64_t frame = 128;  // values of a frame: mel bands, or samples
  int64_t width = 0;    // d
  int64_t heads = 0, ffn = 0, layers = 0;
  int64_t maps[2] = {128, 32};  // of the two convolutions
  int64_t taps = 5;             // of the light convolution
  int64_t window = 12;          // tokens that a token sees, with its own
  int64_t middle = 0;           // width between the encoder and the projection
  int64_t out = 0;              // D
  float eps = 1e-6F;
  float cap = 50;        // of attention's scores
  float residual = 0.5;  // what a feed-forward counts
  float limit = 1e10F;   // of values in between
  bool clipped = true;   // bounds beside the matrices hold; where there are none, they are infinite
};

}  // namespace gemlet::model
