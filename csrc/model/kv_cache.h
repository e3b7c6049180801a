// Keys and values of one sequence, in reference-counted pages of 64 tokens for each layer that has its own. A copy shares
// the pages; whoever writes into a shared page first makes it his own. Sliding layers give back the pages that no later
// token can see. Knows nothing of weights.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "core/tensor.h"
#include "model/config.h"
#include "ops/ops.h"

namespace gemlet::model {

enum class KvType { F32, F16 };

// Tokens that rewind() can always take back, whatever sliding layers have given up.
constexpr int64_t kRewind = 16;

class KvCache {
 public:
  // Bytes of pages alive, shared ones once, of all caches made with the same counter.
  using Counter = std::shared_ptr<std::atomic<int64_t>>;

  KvCache(const Config& config, KvType type, Counter counter = std::make_shared<std::atomic<int64_t>>(0));

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

  // Whether the first `length` tokens, and what the next one sees of them, are all still here.
  bool reaches(int64_t length) const;
  // Forgets all but the first `length` tokens. Throws BadArgument unless reaches(length).
  void rewind(int64_t length);

  size_t bytes() const;  // of its pages, shared or not

  // For writing a cache to a file and back: the pages of a layer, null where given back; keys and values in turn.
  size_t layers() const { return layers_.size(); }
  size_t page_bytes(size_t layer) const;  // 0: a layer without keys of its own
  std::vector<std::shared_ptr<uint8_t>> held(size_t layer) const;
  // A cache of `length` tokens with room for its pages, as held() of the original told which are there.
  static KvCache with_pages(const Config& config, KvType type, Counter counter, int64_t length,
                            const std::vector<std::vector<std::shared_ptr<uint8_t>>>& held);
  std::shared_ptr<uint8_t> new_page(size_t layer) const;

 private:
  struct LayerPages {
    std::vector<std::shared_ptr<uint8_t>> held_k, held_v;
    std::vector<const uint8_t*> k, v;  // the same, as attention wants them; null: given back
    int64_t freed = 0;                 // pages below this are given back
  };
  int64_t stored(size_t layer) const { return (config_->layers[layer].channels + 7) / 8 * 8; }  // channels in a page
  bool owns(size_t layer) const { return config_->layers[layer].kv_source == static_cast<int64_t>(layer); }
  void own_last_page(size_t layer);
  const Config* config_;
  KvType type_;
  Counter counter_;
  int64_t length_ = 0;
  std::vector<LayerPages> layers_;
};

}  // namespace gemlet::model
