// Page bookkeeping; how a key lies in its page is ops/kv_pages.cpp's.
#include "model/kv_cache.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>

#include "core/error.h"

namespace gemlet::model {

using kernels::kPageKeys;

constexpr size_t kAligned = 64;
constexpr int64_t kStoreRows = 16;  // of a task

KvCache::KvCache(const Config& config, KvType type, Counter counter)
    : config_(&config), type_(type), counter_(std::move(counter)), layers_(config.layers.size()) {}

size_t KvCache::page_bytes(size_t layer) const {
  if (!owns(layer)) return 0;
  const ops::KvPages kv = pages(layer);
  const size_t bytes = static_cast<size_t>(kv.kv_heads) * ops::head_bytes(type_, kv.channels);
  return (bytes + kAligned - 1) / kAligned * kAligned;
}

std::shared_ptr<uint8_t> KvCache::new_page(size_t layer) const {
  const size_t bytes = page_bytes(layer);
  auto* memory = static_cast<uint8_t*>(std::aligned_alloc(kAligned, bytes));
  if (memory == nullptr) throw std::bad_alloc();
  std::memset(memory, 0, bytes);  // the padding stays zero; a page may be written to a file before it is full
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
  const LayerConfig& c = config_->layers[layer];
  const LayerPages& l = layers_[layer];
  return {l.k.data(), l.v.data(), type_, c.kv_heads, ops::stored_channels(type_, c.channels), c.channels};
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
