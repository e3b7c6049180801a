// What a tile of attention does for pages of any kind: which keys a row of queries sees, and what each set does in its own
// way. Numbers only, with internal linkage.
#pragma once

#include <cstring>

#include "kernels/api.h"

namespace gemlet::kernels {
namespace {

struct Span {
  int64_t begin, end;
};

inline void fetch(const void* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(static_cast<const char*>(from) + i);
}

// What will be read after the next 4 KiB; past the end of a page it does no harm.
inline void fetch_ahead(const void* from, int64_t bytes) { fetch(static_cast<const char*>(from) + 4096, bytes); }

// The keys of the tile that row r sees, relative to the tile.
inline Span visible(const AttendTile& tile, int64_t r) {
  const int64_t begin = tile.begin[r] > tile.first ? tile.begin[r] - tile.first : 0;
  const int64_t end = tile.end[r] - tile.first < tile.count ? tile.end[r] - tile.first : tile.count;
  return {begin, end > begin ? end : begin};
}

// The keys that any of rows [r, r + n) sees.
inline Span visible_to_any(const AttendTile& tile, int64_t r, int64_t n) {
  Span all{kTileKeys, 0};
  for (int64_t i = r; i < r + n; ++i) {
    const Span one = visible(tile, i);
    if (one.begin == one.end) continue;
    all.begin = one.begin < all.begin ? one.begin : all.begin;
    all.end = one.end > all.end ? one.end : all.end;
  }
  return all;
}

// By the set: scores of one row become weights exp(score - max); all others of the tile become 0.
void softmax_row(const AttendTile& tile, int64_t r);

inline Span common(Span a, Span b) {
  const int64_t begin = a.begin > b.begin ? a.begin : b.begin, end = a.end < b.end ? a.end : b.end;
  return {begin, end > begin ? end : begin};
}

}  // namespace
}  // namespace gemlet::kernels
