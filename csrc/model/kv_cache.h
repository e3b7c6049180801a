// Keys and values of one sequence, in reference-counted pages of 64 tokens for each layer that has its own. Sliding layers
// give back the pages that no later token can see. Knows nothing of weights.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "model/config.h"
#include "ops/ops.h"

namespace gemlet::model {

using ops::KvType;

class KvCache {
 public:
  KvCache(const Config& config, KvType type);

  int64_t length() const { return length_; }  // tokens whose keys and values are stored
  KvType type() const { return type_; }

  // Room for `count` tokens after length() in every layer with keys of its own. Throws std::bad_alloc.
  void extend(int64_t count);
  // k, v (count, K C) of the tokens from length() on, after norm and rotation.
  void store(ops::Context& on, size_t layer, Rows<const float> k, Rows<const float> v);
  // The pages of a layer, for attention.
  ops::KvPages pages(size_t layer) const;
  // Makes the `count` stored tokens part of length(), and frees what sliding layers cannot see any more.
  void commit(int64_t count);

  size_t bytes() const;  // of the pages now held

 private:
  struct LayerPages {
    std::vector<std::shared_ptr<uint8_t>> held_k, held_v;
    std::vector<const uint8_t*> k, v;  // the same, as attention wants them; null: given back
    int64_t freed = 0;                 // pages below this are given back
  };
  size_t page_bytes(size_t layer) const;
  bool owns(size_t layer) const { return config_.layers[layer].kv_source == static_cast<int64_t>(layer); }
  const Config& config_;
  KvType type_;
  int64_t length_ = 0;
  std::vector<LayerPages> layers_;
};

}  // namespace gemlet::model
