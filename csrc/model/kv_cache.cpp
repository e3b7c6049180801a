// Page bookkeeping and the two ways of storing a key: float32 as it is, or rounded to binary16.
#include "model/kv_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/error.h"

namespace gemlet::model {

using kernels::kPageKeys;

KvCache::KvCache(const Config& config, KvType type, Counter counter)
    : config_(&config), type_(type), counter_(std::move(counter)), layers_(config.layers.size()) {}

size_t KvCache::page_bytes(size_t layer) const {
  if (!owns(layer)) return 0;
  const int64_t heads = config_->layers[layer].kv_heads;
  return static_cast<size_t>(heads * stored(layer) * kPageKeys) * (type_ == KvType::F16 ? 2 : 4);
}

std::shared_ptr<uint8_t> KvCache::new_page(size_t layer) const {
  const size_t bytes = (page_bytes(layer) + 63) / 64 * 64;
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(64, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  if (stored(layer) != config_->layers[layer].channels) std::memset(memory, 0, bytes);  // the padding stays zero
  *counter_ += static_cast<int64_t>(bytes);
  return {memory, [counter = counter_, bytes](uint8_t* p) {
            std::free(p);
            *counter -= static_cast<int64_t>(bytes);
          }};
}

// Before anybody writes behind length(): the page it lies in may be shared with a copy of this cache.
void KvCache::own_last_page(size_t layer) {
  if (length_ % kPageKeys == 0) return;
  LayerPages& l = layers_[layer];
  const auto page = static_cast<size_t>(length_ / kPageKeys);
  for (const auto& [held, view] : {std::pair{&l.held_k, &l.k}, std::pair{&l.held_v, &l.v}}) {
    std::shared_ptr<uint8_t>& memory = (*held)[page];
    if (memory.use_count() == 1) continue;
    std::shared_ptr<uint8_t> own = new_page(layer);
    std::memcpy(own.get(), memory.get(), page_bytes(layer));
    memory = std::move(own);
    (*view)[page] = memory.get();
  }
}

void KvCache::extend(int64_t count) {
  const size_t wanted = static_cast<size_t>((length_ + count + kPageKeys - 1) / kPageKeys);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!owns(i)) continue;
    own_last_page(i);
    LayerPages& l = layers_[i];
    while (l.k.size() < wanted) {
      std::shared_ptr<uint8_t> k = new_page(i), v = new_page(i);
      l.k.push_back(k.get()), l.v.push_back(v.get());
      l.held_k.push_back(std::move(k)), l.held_v.push_back(std::move(v));
    }
  }
}

void KvCache::store(ops::Context& on, size_t layer, Rows<const float> k, Rows<const float> v) {
  const int64_t channels = config_->layers[layer].channels, heads = config_->layers[layer].kv_heads;
  const int64_t apart = stored(layer);
  const LayerPages& l = layers_[layer];
  on.team.run((k.rows + kPageKeys - 1) / kPageKeys, [&](int64_t task, int) {
    for (int64_t t = task * kPageKeys; t < std::min(k.rows, (task + 1) * kPageKeys); ++t) {
      const int64_t position = length_ + t;
      const auto page = static_cast<size_t>(position / kPageKeys);
      for (int64_t h = 0; h < heads; ++h) {
        const int64_t at = (h * kPageKeys + position % kPageKeys) * apart;
        for (const auto& [from, to] : {std::pair{&k, l.held_k[page].get()}, std::pair{&v, l.held_v[page].get()}}) {
          const float* row = from->row(t) + h * channels;
          if (type_ == KvType::F16)
            on.kernels.narrow_f16(row, channels, reinterpret_cast<uint16_t*>(to) + at);
          else
            std::memcpy(reinterpret_cast<float*>(to) + at, row, static_cast<size_t>(channels) * sizeof(float));
        }
      }
    }
  });
}

ops::KvPages KvCache::pages(size_t layer) const {
  const LayerConfig& c = config_->layers[layer];
  return {
      layers_[layer].k.data(), layers_[layer].v.data(), type_ == KvType::F16, c.kv_heads, stored(layer), c.channels};
}

void KvCache::commit(int64_t count) {
  length_ += count;
  // The next token, at position length_ or after a rewind before it, sees keys from its position - window + 1 on.
  const int64_t unseen = std::max<int64_t>(0, length_ - kRewind - config_->window + 1) / kPageKeys;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!config_->layers[i].sliding || !owns(i)) continue;
    LayerPages& l = layers_[i];
    for (; l.freed < unseen; ++l.freed) {
      const auto page = static_cast<size_t>(l.freed);
      l.held_k[page].reset(), l.held_v[page].reset();
      l.k[page] = l.v[page] = nullptr;
    }
  }
}

bool KvCache::reaches(int64_t length) const {
  if (length < 0 || length > length_) return false;
  const int64_t first = std::max<int64_t>(0, length - config_->window + 1);
  return std::all_of(layers_.begin(), layers_.end(), [&](const LayerPages& l) { return l.freed * kPageKeys <= first; });
}

void KvCache::rewind(int64_t length) {
  if (!reaches(length))
    throw BadArgument(cat("cache: cannot go back to ", length, " of ", length_,
                          " tokens: pages that the next token would ", "see are given back"));
  length_ = length;
  const auto kept = static_cast<size_t>((length + kPageKeys - 1) / kPageKeys);
  for (LayerPages& l : layers_) {
    const size_t pages = std::min(kept, l.k.size());
    l.k.resize(pages), l.v.resize(pages), l.held_k.resize(pages), l.held_v.resize(pages);
  }
}

size_t KvCache::bytes() const {
  size_t total = 0;
  for (size_t i = 0; i < layers_.size(); ++i)
    total += (layers_[i].k.size() - static_cast<size_t>(layers_[i].freed)) * 2 * page_bytes(i);
  return total;
}

std::vector<std::shared_ptr<uint8_t>> KvCache::held(size_t layer) const {
  std::vector<std::shared_ptr<uint8_t>> pages;
  for (size_t i = 0; i < layers_[layer].held_k.size(); ++i) {
    pages.push_back(layers_[layer].held_k[i]);
    pages.push_back(layers_[layer].held_v[i]);
  }
  return pages;
}

KvCache KvCache::with_pages(const Config& config, KvType type, Counter counter, int64_t length,
                            const std::vector<std::vector<std::shared_ptr<uint8_t>>>& held) {
  KvCache cache(config, type, std::move(counter));
  cache.length_ = length;
  for (size_t i = 0; i < held.size(); ++i) {
    LayerPages& l = cache.layers_[i];
    for (size_t p = 0; p + 1 < held[i].size(); p += 2) {
      l.held_k.push_back(held[i][p]), l.held_v.push_back(held[i][p + 1]);
      l.k.push_back(held[i][p].get()), l.v.push_back(held[i][p + 1].get());
    }
    while (l.freed < static_cast<int64_t>(l.k.size()) && l.k[static_cast<size_t>(l.freed)] == nullptr) ++l.freed;
  }
  return cache;
}

}  // namespace gemlet::model
