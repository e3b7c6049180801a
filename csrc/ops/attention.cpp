// Attention over pages in fixed tiles of 256 keys, folded in index order (the online softmax of FlashAttention, Dao et
// al. 2022). A unit of work is one key/value head with the query rows of a few tokens, so that they share each tile.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "core/error.h"
#include "kernels/api.h"
#include "ops/ops.h"

namespace gemlet::ops {
namespace {

using kernels::kPageKeys;
using kernels::kTileKeys;

constexpr int64_t kUnitRows = 64;  // query rows that share a tile

// How T tokens x K key/value heads x G query heads a group are cut into units.
struct Split {
  int64_t tokens, heads;            // of a unit
  int64_t token_units, head_units;  // head_units: for each key/value head
};

Split split(int64_t tokens, int64_t group, int64_t kv_heads, int threads) {
  Split s{};
  s.heads = group;
  s.tokens = std::max<int64_t>(1, kUnitRows / group);
  s.token_units = (tokens + s.tokens - 1) / s.tokens;
  // One token has few units: give the heads of a group to different threads.
  if (s.token_units * kv_heads < threads) s.heads = (group + threads - 1) / threads;
  s.head_units = (group + s.heads - 1) / s.heads;
  return s;
}

struct Unit {
  int64_t kv_head, first_head, heads;  // query heads [first_head, first_head + heads)
  int64_t first_token, tokens;
  int64_t rows() const { return heads * tokens; }
};

// A unit's scratch, carved out of one buffer.
struct Work {
  float *q, *scores, *widened, *tile_out, *tile_max, *tile_sum, *out, *max, *sum;
  int64_t *begin, *end;
};

Work carve(Buffer<float>& buffer, int64_t rows, int64_t channels) {
  const int64_t wide = rows * channels;
  float* p = buffer.reserve(3 * wide + rows * kTileKeys + kPageKeys * channels + 8 * rows);
  Work w{};
  w.begin = reinterpret_cast<int64_t*>(p), w.end = w.begin + rows, p += 4 * rows;
  w.q = p, p += wide;
  w.tile_out = p, p += wide;
  w.out = p, p += wide;
  w.scores = p, p += rows * kTileKeys;
  w.widened = p, p += kPageKeys * channels;
  w.tile_max = p, p += rows;
  w.tile_sum = p, p += rows;
  w.max = p, p += rows;
  w.sum = p;
  return w;
}

}  // namespace

void attention(Context& on, Rows<const float> q, const KvPages& kv, const int64_t* begin, const int64_t* end,
               float scale, Rows<float> out) {
  const int64_t channels = kv.channels, used = kv.used, group = q.cols / (used * kv.kv_heads);
  if (channels % 8 != 0 || used > channels || group * used * kv.kv_heads != q.cols)
    throw BadArgument(cat("attention: ", q.cols, " query columns do not fit ", kv.kv_heads, " key heads of ", used,
                          " channels, stored as ", channels));
  const Split s = split(q.rows, group, kv.kv_heads, on.team.threads());
  const size_t element = kv.half ? 2 : 4;

  const auto run_unit = [&](const Unit& unit, Work& w) {
    const int64_t rows = unit.rows();
    int64_t first = std::numeric_limits<int64_t>::max(), last = 0;
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t t = unit.first_token + r / unit.heads, head = unit.first_head + r % unit.heads;
      std::memcpy(w.q + r * channels, q.row(t) + head * used, static_cast<size_t>(used) * sizeof(float));
      std::fill(w.q + r * channels + used, w.q + (r + 1) * channels, 0.0F);
      w.begin[r] = begin[t], w.end[r] = end[t];
      first = std::min(first, begin[t]), last = std::max(last, end[t]);
      w.max[r] = -INFINITY, w.sum[r] = 0;
    }
    std::memset(w.out, 0, static_cast<size_t>(rows * channels) * sizeof(float));
    const size_t head_offset = static_cast<size_t>(unit.kv_head * kPageKeys * channels) * element;
    for (int64_t key = first / kTileKeys * kTileKeys; key < last; key += kTileKeys) {
      const int64_t count = std::min<int64_t>(kTileKeys, last - key);
      const void *k[kTileKeys / kPageKeys] = {}, *v[kTileKeys / kPageKeys] = {};
      for (int64_t page = 0; page * kPageKeys < count; ++page) {
        const int64_t at = key / kPageKeys + page;
        if (kv.k[at] == nullptr) continue;  // below the window of every row here
        k[page] = kv.k[at] + head_offset, v[page] = kv.v[at] + head_offset;
      }
      const kernels::AttendTile tile{w.q,      channels,  rows,       channels,   scale,     k,
                                     v,        kv.half,   key,        count,      w.begin,   w.end,
                                     w.scores, w.widened, w.tile_max, w.tile_sum, w.tile_out};
      on.kernels.attend(tile);
      on.kernels.attend_merge(tile, w.max, w.sum, w.out, channels);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t t = unit.first_token + r / unit.heads, head = unit.first_head + r % unit.heads;
      on.kernels.scale(1.0F / w.sum[r], used, w.out + r * channels);
      std::memcpy(out.row(t) + head * used, w.out + r * channels, static_cast<size_t>(used) * sizeof(float));
    }
  };

  on.team.run(s.token_units * kv.kv_heads * s.head_units, [&](int64_t index, int worker) {
    Unit unit{};
    unit.first_token = index / (kv.kv_heads * s.head_units) * s.tokens;
    unit.tokens = std::min(s.tokens, q.rows - unit.first_token);
    unit.kv_head = index / s.head_units % kv.kv_heads;
    const int64_t skipped = index % s.head_units * s.heads;
    unit.first_head = unit.kv_head * group + skipped;
    unit.heads = std::min(s.heads, group - skipped);
    Work work = carve(on.workers[static_cast<size_t>(worker)].attention, s.tokens * s.heads, channels);
    run_unit(unit, work);
  });
}

}  // namespace gemlet::ops
