// The weights of a text model by name: views into the mapped file, checked for shape and type; nothing is copied but the
// norms' vectors, which the kernels want as aligned float32.
#pragma once

#include <memory>
#include <vector>

#include "codec/codec.h"
#include "model/checkpoint.h"
#include "model/config.h"

namespace gemlet::model {

// One matrix for each expert, equally far apart in the file.
struct ExpertMatrix {
  codec::Matrix first;
  size_t stride = 0;  // bytes from one expert's to the next
  codec::Matrix at(int64_t expert) const {
    codec::Matrix m = first;
    m.data += static_cast<size_t>(expert) * stride;
    return m;
  }
};

struct Layer {
  // (out, in), as the checkpoint names them
  codec::Matrix attn_q, attn_k, attn_v, attn_output;  // (H C, D) (K C, D) (K C, D) (D, H C)
  codec::Matrix ffn_gate, ffn_up, ffn_down;           // (F, D) (F, D) (D, F)
  const float *attn_norm, *post_attention_norm;       // (D)
  const float *attn_q_norm, *attn_k_norm;             // (C)
  const float *ffn_norm, *post_ffw_norm;              // (D)
  float layer_output_scale = 1;
  // per-layer embeddings
  codec::Matrix inp_gate, proj;      // (P, D) (D, P)
  const float* post_norm = nullptr;  // (D)
  // mixture
  codec::Matrix ffn_gate_inp;                                         // (E, D): the router
  const float* ffn_gate_inp_scale = nullptr;                          // (D)
  const float* ffn_down_exps_scale = nullptr;                         // (E)
  ExpertMatrix ffn_gate_exps, ffn_up_exps, ffn_down_exps;             // E x (F, D) (F, D) (D, F)
  const float *post_ffw_norm_1 = nullptr, *pre_ffw_norm_2 = nullptr;  // (D)
  const float* post_ffw_norm_2 = nullptr;                             // (D)
};

// A table of which few rows are ever needed: they are read from the file, never through the mapping, whose pages the
// system maps in pieces of 2 MiB.
struct RowTable {
  codec::Matrix rows;
  const MappedFile* file = nullptr;
  size_t offset = 0;  // of the first row in the file
};

struct Weights {
  codec::Matrix token_embd;                    // (V, D)
  codec::Matrix output;                        // (V, D): the head; token_embd where the file has none
  const float* output_norm = nullptr;          // (D)
  RowTable per_layer_token_embd;               // (V, L P)
  codec::Matrix per_layer_model_proj;          // (L P, D)
  const float* per_layer_proj_norm = nullptr;  // (P)
  // drafter; D is its own width, B its target's
  codec::Matrix pre_projection, post_projection, centroids;  // (D, 2 B) (B, D) (centroids, D)
  std::vector<int32_t> ordering;                             // (V): the ids, centroid after centroid
  std::vector<Layer> layers;
  std::vector<std::unique_ptr<float[]>> vectors;  // what the pointers above point into

  // Throws BadFile naming the tensor: missing, wrong shape, a type that cannot be a weight, or one nobody asked for.
  static Weights from(const Checkpoint& file, const Config& config);
  int64_t parameters = 0;
};

// What one token costs: bytes of weights read, and multiply-adds.
struct TokenCost {
  int64_t bytes = 0;  // with the head
  int64_t madds = 0;  // without the head
  int64_t madds_head = 0;
  int64_t madds_prompt = 0;  // of a prompt token whose own output nobody wants
};
TokenCost token_cost(const Weights& w, const Config& c);

}  // namespace gemlet::model
