// The two halves of a layer that the decoder and its drafter have in common; the code stands in decoder.cpp, where the
// whole layer is told.
#pragma once

#include "model/decoder.h"

namespace gemlet::model {

// h (T, D) <- o_proj(softmax(q k^T * scaling + mask) v), q = q_norm(q) rotated; keys and values of layer kv_source.
void attend(ops::Context& on, const Config& c, size_t index, const Layer& l, State& s, Rows<float> q, Rows<float> h,
            const Tap& tap = {});
// h (T, D) <- down_proj(gelu(gate_proj(h)) * up_proj(h))
void dense(ops::Context& on, const LayerConfig& size, const Layer& l, State& s, Rows<float> h);

}  // namespace gemlet::model
