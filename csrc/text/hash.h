// One hash of a few bytes, shared by the piece table and the word cache. Fixed seed: the same table on every run.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace gemlet::text {

// Up to 16 bytes as two words. Together with the length they determine the bytes, so equal keys mean equal strings.
struct ShortKey {
  uint64_t low = 0, high = 0;
};

template <class Word>
inline Word load(const void* from) {
  Word word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

inline ShortKey short_key(const char* data, size_t size) {  // size in [1, 16]; longer: the first and the last 8 bytes
  if (size >= 8) return {load<uint64_t>(data), load<uint64_t>(data + size - 8)};
  if (size >= 4) return {load<uint32_t>(data), load<uint32_t>(data + size - 4)};
  const auto at = [&](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(data[i])); };
  return {at(0) | at(size / 2) << 8U | at(size - 1) << 16U, 0};
}

inline bool equal(std::string_view a,
                  std::string_view b) {  // neither empty; nearly all are short, and a call costs more
  if (a.size() != b.size()) return false;
  const ShortKey left = short_key(a.data(), a.size()), right = short_key(b.data(), b.size());
  return left.low == right.low && left.high == right.high && (a.size() <= 16 || a == b);
}

inline uint64_t mix(uint64_t a, uint64_t b) {
  const auto product = static_cast<unsigned __int128>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64U);
}

inline uint64_t hash_key(ShortKey key, size_t size) {
  constexpr uint64_t kLow = 0x9E3779B97F4A7C15, kHigh = 0xC2B2AE3D27D4EB4F, kSize = 0x165667B19E3779F9;
  return mix(key.low ^ kLow, key.high ^ (kHigh + size * kSize));
}

inline uint64_t hash_bytes(const char* data, size_t size) {  // size >= 1
  uint64_t hash = hash_key(short_key(data, size), size);
  for (size_t i = 8; i + 8 < size; i += 8)
    hash = mix(hash ^ 0x27D4EB2F165667C5, load<uint64_t>(data + i) ^ 0x85EBCA77C2B2AE63);
  return hash;
}

}  // namespace gemlet::text
