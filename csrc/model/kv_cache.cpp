// Page bookkeeping and the two ways of storing a key: float32 as it is, or rounded to binary16.
#include "model/kv_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace gemlet::model {
namespace {

using kernels::kPageKeys;

std::shared_ptr<uint8_t> new_page(size_t bytes, bool cleared) {
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64));
  if (memory == nullptr) throw std::bad_alloc();
  if (cleared) std::memset(memory, 0, bytes);
  return {memory, [](uint8_t* p) { std::free(p); }};
}

}  // namespace

KvCache::KvCache(const Config& config, KvType type) : config_(config), type_(type), layers_(config.layers.size()) {}

size_t KvCache::page_bytes(size_t layer) const {
  const LayerConfig& c = config_.layers[layer];
  return static_cast<size_t>(c.kv_heads * stored(layer) * kPageKeys) * (type_ == KvType::F16 ? 2 : 4);
}

void KvCache::extend(int64_t count) {
  const size_t wanted = static_cast<size_t>((length_ + count + kPageKeys - 1) / kPageKeys);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!owns(i)) continue;
    LayerPages& l = layers_[i];
    const bool padded = stored(i) != config_.layers[i].channels;
    while (l.k.size() < wanted) {
      l.held_k.push_back(new_page(page_bytes(i), padded));
      l.held_v.push_back(new_page(page_bytes(i), padded));
      l.k.push_back(l.held_k.back().get());
      l.v.push_back(l.held_v.back().get());
    }
  }
}

void KvCache::store(ops::Context& on, size_t layer, Rows<const float> k, Rows<const float> v) {
  const int64_t channels = config_.layers[layer].channels, heads = config_.layers[layer].kv_heads;
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
  const LayerConfig& c = config_.layers[layer];
  return {
      layers_[layer].k.data(), layers_[layer].v.data(), type_ == KvType::F16, c.kv_heads, stored(layer), c.channels};
}

void KvCache::commit(int64_t count) {
  length_ += count;
  // The next token, at position length_, sees keys from length_ - window + 1 on.
  const int64_t unseen = std::max<int64_t>(0, length_ - config_.window + 1) / kPageKeys;
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!config_.layers[i].sliding || !owns(i)) continue;
    LayerPages& l = layers_[i];
    for (; l.freed < unseen; ++l.freed) {
      const auto page = static_cast<size_t>(l.freed);
      l.held_k[page].reset(), l.held_v[page].reset();
      l.k[page] = l.v[page] = nullptr;
    }
  }
}

size_t KvCache::bytes() const {
  size_t total = 0;
  for (size_t i = 0; i < layers_.size(); ++i)
    total += (layers_[i].k.size() - static_cast<size_t>(layers_[i].freed)) * 2 * page_bytes(i);
  return total;
}

}  // namespace gemlet::model
