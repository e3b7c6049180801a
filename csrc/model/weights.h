// The weights of a text model by name: views into the mapped file, checked for shape and type; nothing is copied but the
// norms' vectors, which the kernels want as aligned float32.
#pragma once

#include <memory>
#include <vector>

#include "codec/codec.h"
#include "formats/gguf.h"
#include "model/config.h"

namespace gemlet::model {

struct Layer {
  // (out, in), as the checkpoint names them
  codec::Matrix attn_q, attn_k, attn_v, attn_output;  // (H C, D) (K C, D) (K C, D) (D, H C)
  codec::Matrix ffn_gate, ffn_up, ffn_down;           // (F, D) (F, D) (D, F)
  const float *attn_norm, *post_attention_norm;       // (D)
  const float *attn_q_norm, *attn_k_norm;             // (C)
  const float *ffn_norm, *post_ffw_norm;              // (D)
};

struct Weights {
  codec::Matrix token_embd;            // (V, D)
  codec::Matrix output;                // (V, D): the head; token_embd where the file has none
  const float* output_norm = nullptr;  // (D)
  std::vector<Layer> layers;
  std::vector<std::unique_ptr<float[]>> vectors;  // what the pointers above point into

  // Throws BadFile naming the tensor: missing, wrong shape, a type that cannot be a weight.
  static Weights from(const formats::Gguf& file, const Config& config);
  // Bytes of weights that a decoded token reads, and multiply-adds it takes without and in the head.
  int64_t bytes_per_token() const;
  int64_t madds_per_token() const;
  int64_t madds_head() const { return output.rows * output.cols; }
  int64_t parameters = 0;
};

}  // namespace gemlet::model
