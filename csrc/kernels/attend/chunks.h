// One tile of attention, around a set's inner loops. Over pages of floats: keys and values in chunks of one page, rows grouped
// where they see the same keys. A row's sums see its own keys only, in their order: rows may be grouped in any way.
#pragma once

#include "kernels/attend/bytes.h"
#include "kernels/attend/tile.h"

namespace gemlet::kernels {
namespace {

constexpr int64_t kChunkKeys = 16;
constexpr int64_t kFewRows = 16;  // up to here binary16 is converted for each four rows anew, beyond once for all

// Some keys, or values, float or binary16: key i at data + i * apart.
template <class T>
struct Chunk {
  const T* data;
  int64_t apart;
  bool more;  // another chunk follows in memory: fetch it little by little while the first rows are worked on
  Chunk from(int64_t i) const { return {data + i * apart, apart, more}; }
};

// Keys [j, j + n) of a page list as they are; they lie in one page.
template <class T>
Chunk<T> in_place(const AttendTile& tile, const void* const* pages, int64_t j, int64_t n) {
  const T* at = static_cast<const T*>(pages[j / kPageKeys]) + j % kPageKeys * tile.channels;
  return {at, tile.channels, (j + n) % kPageKeys != 0};
}

// By the set: keys [j, j + n) of a page list of binary16 widened into the tile's scratch, where that pays.
Chunk<float> widened(const AttendTile& tile, const void* const* pages, int64_t j, int64_t n);

// Calls work(first key, count) for the pieces of the span that lie in one chunk.
template <class Work>
void for_chunks(Span span, Work work) {
  for (int64_t j = span.begin; j < span.end;) {
    const int64_t stop = (j / kChunkKeys + 1) * kChunkKeys, n = (stop < span.end ? stop : span.end) - j;
    work(j, n);
    j += n;
  }
}

// Adds the values of one chunk to rows [r, r + NR): together where all see a key, before and
// after that each row on its own. A hidden key with weight 0 would not do: it may hold an infinity.
template <class Body, int NR, class T>
void add_values(const AttendTile& tile, int64_t r, Chunk<T> v, Span chunk) {
  Span own[NR], all = chunk;
  for (int i = 0; i < NR; ++i) {
    own[i] = common(visible(tile, r + i), chunk);
    all = common(all, own[i]);
  }
  if (all.begin == all.end) all = {chunk.end, chunk.end};
  const auto alone = [&](int i, Span keys) {
    if (keys.begin < keys.end)
      Body::template values<1>(tile, r + i, v.from(keys.begin - chunk.begin), keys.begin, keys.end - keys.begin);
  };
  for (int i = 0; i < NR; ++i) alone(i, common(own[i], {chunk.begin, all.begin}));
  if (all.begin < all.end)
    Body::template values<NR>(tile, r, v.from(all.begin - chunk.begin), all.begin, all.end - all.begin);
  for (int i = 0; i < NR; ++i) alone(i, common(own[i], {all.end, chunk.end}));
}

// `Body` has the two inner loops: scores of kScoreRows rows, values of four, and both of one. load(pages, j, n) gives keys
// or values as a Chunk.
template <class Body, class Load>
void attend_floats(const AttendTile& tile, const Load& load_keys) {
  const Span all = visible_to_any(tile, 0, tile.rows);
  for_chunks(all, [&](int64_t j, int64_t n) {
    const auto k = load_keys(tile.k, j, n);
    int64_t r = 0;
    for (; r + Body::kScoreRows <= tile.rows; r += Body::kScoreRows)
      Body::template scores<Body::kScoreRows>(tile, r, k, j, n);
    for (; r < tile.rows; ++r) Body::template scores<1>(tile, r, k, j, n);
  });
  for (int64_t r = 0; r < tile.rows; ++r) softmax_row(tile, r);
  std::memset(tile.out, 0, static_cast<size_t>(tile.rows * tile.channels) * sizeof(float));
  for_chunks(all, [&](int64_t j, int64_t n) {
    const auto v = load_keys(tile.v, j, n);
    int64_t r = 0;
    for (; r + 4 <= tile.rows; r += 4) add_values<Body, 4>(tile, r, v, {j, j + n});
    for (; r < tile.rows; ++r) add_values<Body, 1>(tile, r, v, {j, j + n});
  });
}

// `Body` for pages of floats, `HalfBody` for few rows over binary16, `Pairs` for pages of bytes.
template <class Body, class HalfBody, class Pairs>
void attend(const AttendTile& tile) {
  using Pages = const void* const*;
  if (tile.type == KvType::Q8_0)
    attend_bytes<Pairs>(tile);
  else if (tile.type == KvType::F32)
    attend_floats<Body>(tile, [&](Pages p, int64_t j, int64_t n) { return in_place<float>(tile, p, j, n); });
  else if (tile.rows <= kFewRows)
    attend_floats<HalfBody>(tile, [&](Pages p, int64_t j, int64_t n) { return in_place<uint16_t>(tile, p, j, n); });
  else
    attend_floats<Body>(tile, [&](Pages p, int64_t j, int64_t n) { return widened(tile, p, j, n); });
}

}  // namespace
}  // namespace gemlet::kernels
