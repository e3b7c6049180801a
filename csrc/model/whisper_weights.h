// The weights of a Whisper model by name, checked for shape and type, and made ready to be multiplied: in 16 bits, and the
// vocabulary's in 8; or as the file has them where nothing may be lost. Letters: D width, F feed-forward, V vocabulary.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "codec/codec.h"
#include "core/tensor.h"
#include "model/whisper_file.h"
#include "ops/ops.h"
#include "ops/wide.h"

namespace gemlet::model {

struct WhisperLinear {
  codec::Matrix w;              // (out, in), or
  ops::WideMatrix wide;         // in 16 bits
  const float* bias = nullptr;  // (out); null: none
};

struct WhisperNorm {
  const float *weight = nullptr, *bias = nullptr;  // (D)
};

struct WhisperAttention {
  WhisperNorm norm;            // before it
  WhisperLinear q, k, v, out;  // (D, D)
};

struct WhisperLayer {
  WhisperAttention self, cross;  // the encoder's layers have no `cross`
  WhisperNorm ffn_norm;
  WhisperLinear up, down;  // (F, D) (D, F)
};

struct WhisperWeights {
  WhisperLinear conv1, conv2;     // (D, 3 mels) (D, 3 D): the three frames one after the other
  const float* places = nullptr;  // (places, D), added to the encoder's input
  std::vector<WhisperLayer> encoder, decoder;
  WhisperNorm encoder_norm, decoder_norm;
  codec::Matrix tokens;                          // (V, D)
  codec::Matrix head;                            // (V, D): `tokens` where the file has no other
  const float* positions = nullptr;              // (positions, D), added to the tokens
  std::vector<std::unique_ptr<float[]>> floats;  // what the pointers above point into, if not into the file
  std::vector<Buffer<uint8_t>> bytes;
  int64_t parameters = 0;

  // quick: matrices become WideMatrix, and the vocabulary's Q8_0, if their width allows it. Throws BadFile naming the
  // tensor.
  static WhisperWeights from(const WhisperFile& file, ops::Context& on, bool quick);
};

}  // namespace gemlet::model
