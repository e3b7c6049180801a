// The plain versions of the heavy operations: whole matrices, double precision, no blocks, no threads. What the fast ones
// are compared with; nothing of the engine calls them.
#pragma once

#include "codec/codec.h"
#include "core/tensor.h"

namespace gemlet::ops::oracle {

// y (T, rows of w) = x (T, cols of w) . w^T with the weights decoded.
void linear(const codec::Matrix& w, Rows<const float> x, Rows<float> y);

// out (T, H * C): softmax(q k^T * scale) v for each head, token t over keys [begin[t], end[t]). k, v (S, K * C).
void attention(Rows<const float> q, Rows<const float> k, Rows<const float> v, int64_t kv_heads, const int64_t* begin,
               const int64_t* end, float scale, Rows<float> out);

}  // namespace gemlet::ops::oracle
