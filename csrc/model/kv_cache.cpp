// Page bookkeeping; how a key lies in its page is ops/kv_pages.cpp's.
#include "model/kv_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

namespace gemlet::model {
namespace {

using kernels::kPageKeys;

constexpr size_t kAligned = 64;
constexpr int64_t kStoreRows = 16;  // of a task

std::shared_ptr<uint8_t> new_page(size_t bytes, bool cleared) {
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kAligned, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  if (cleared) std::memset(memory, 0, bytes);
  return {memory, [](uint8_t* p) { std::free(p); }};
}

}  // namespace

KvCache::KvCache(const Config& config, KvType type) : config_(config), type_(type), layers_(config.layers.size()) {}

size_t KvCache::page_bytes(size_t layer) const {
  const ops::KvPages kv = pages(layer);
  return (static_cast<size_t>(kv.kv_heads) * ops::head_bytes(type_, kv.channels) + kAligned - 1) / kAligned * kAligned;
}

void KvCache::extend(int64_t count) {
  const size_t wanted = static_cast<size_t>((length_ + count + kPageKeys - 1) / kPageKeys);
  for (size_t i = 0; i < layers_.size(); ++i) {
    if (!owns(i)) continue;
    LayerPages& l = layers_[i];
    // Vectors of keys that are not written yet are read, though not used: bytes may hold anything, padding must be zero.
    const bool padded = pages(i).channels != config_.layers[i].channels && type_ != KvType::Q8_0;
    while (l.k.size() < wanted) {
      l.held_k.push_back(new_page(page_bytes(i), padded));
      l.held_v.push_back(new_page(page_bytes(i), padded));
      l.k.push_back(l.held_k.back().get());
      l.v.push_back(l.held_v.back().get());
    }
  }
}

void KvCache::store(ops::Context& on, size_t layer, Rows<const float> k, Rows<const float> v) {
  const LayerPages& l = layers_[layer];
  const ops::KvPages kv = pages(layer);
  const size_t head = ops::head_bytes(type_, kv.channels);
  on.team.run((k.rows + kStoreRows - 1) / kStoreRows, [&](int64_t task, int) {
    for (int64_t t = task * kStoreRows; t < std::min(k.rows, (task + 1) * kStoreRows); ++t) {
      const auto page = static_cast<size_t>((length_ + t) / kPageKeys);
      const int64_t slot = (length_ + t) % kPageKeys;
      for (int64_t h = 0; h < kv.kv_heads; ++h) {
        const size_t at = static_cast<size_t>(h) * head;
        ops::store_key(on.kernels, kv, k.row(t) + h * kv.used, slot, l.held_k[page].get() + at);
        ops::store_value(on.kernels, kv, v.row(t) + h * kv.used, slot, l.held_v[page].get() + at);
      }
    }
  });
}

ops::KvPages KvCache::pages(size_t layer) const {
  const LayerConfig& c = config_.layers[layer];
  const LayerPages& l = layers_[layer];
  return {l.k.data(), l.v.data(), type_, c.kv_heads, ops::stored_channels(type_, c.channels), c.channels};
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
