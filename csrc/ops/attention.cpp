// Attention over pages in fixed tiles of 256 keys, folded in index order (the online softmax of FlashAttention, Dao et
// al. 2022). A unit of work is one key/value head with the query rows of a few tokens, so that they share each tile. A
// unit too long for one thread is given away tile by tile, and the tiles' results are folded in the same order.
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

constexpr int64_t kUnitRows = 64;          // query rows that share a tile
constexpr int64_t kSplitTiles = 4;         // for each thread: shorter units stay whole
constexpr int64_t kRoundFloats = 1 << 18;  // results of tiles that wait to be merged: 1 MiB

// Query heads [first_head, first_head + heads) of one key/value head, for tokens [first_token, first_token + tokens).
struct Unit {
  const Attention* of;
  int64_t kv_head, first_head, heads;
  int64_t first_token, tokens;
  int64_t first_tile, last_tile;
  int64_t rows() const { return heads * tokens; }
  int64_t tiles() const { return last_tile - first_tile; }
  int64_t channels() const { return of->kv.channels; }
  int64_t token(int64_t row) const { return first_token + row / heads; }
  int64_t column(int64_t row) const { return (first_head + row % heads) * of->kv.used; }
};

// The query rows of a unit side by side, with the keys each sees.
struct Queries {
  float* q;
  int16_t* q16;  // instead of q for Q8_0
  float* q_scale;
  int64_t *begin, *end;
};

// Result of a tile, or the running one of a unit.
struct Sums {
  float *max, *sum, *out;
};

template <class T = float>
T* take(float*& p, int64_t n) {
  T* at = reinterpret_cast<T*>(p);
  p += n * static_cast<int64_t>(sizeof(T)) / static_cast<int64_t>(sizeof(float));
  return at;
}

// Room for both kinds of queries is small beside a tile's result.
int64_t queries_floats(int64_t rows, int64_t channels) { return rows * channels / 2 * 3 + 6 * rows; }
Queries take_queries(float*& p, int64_t rows, int64_t channels) {
  Queries q{};
  q.q = take(p, rows * channels);
  q.q16 = take<int16_t>(p, rows * channels);
  q.begin = take<int64_t>(p, rows), q.end = take<int64_t>(p, rows);
  q.q_scale = take(p, 2 * rows);  // an even number: int64 may follow
  return q;
}

int64_t sums_floats(int64_t rows, int64_t channels) { return rows * channels + 2 * rows; }
Sums take_sums(float*& p, int64_t rows, int64_t channels) {
  Sums s{};
  s.out = take(p, rows * channels);
  s.max = take(p, rows), s.sum = take(p, rows);
  return s;
}

int64_t tile_floats(int64_t rows, int64_t channels) { return rows * (kTileKeys + 1) + kPageKeys * channels; }

void check(const Attention& a) {
  const int64_t columns = a.kv.used * a.kv.kv_heads;
  if (a.kv.channels != stored_channels(a.kv.type, a.kv.used) || columns < 1 || a.q.cols % columns != 0)
    throw BadArgument(cat("attention: ", a.q.cols, " query columns do not fit ", a.kv.kv_heads, " key heads of ",
                          a.kv.used, " channels, stored as ", a.kv.channels));
}

void add_units(const Attention& a, int64_t tokens, int64_t heads, std::vector<Unit>& units) {
  const int64_t group = a.q.cols / (a.kv.used * a.kv.kv_heads);
  for (int64_t t = 0; t < a.q.rows; t += tokens)
    for (int64_t k = 0; k < a.kv.kv_heads; ++k)
      for (int64_t h = 0; h < group; h += heads) {
        Unit u{&a, k, k * group + h, std::min(heads, group - h), t, std::min(tokens, a.q.rows - t), 0, 0};
        const auto first = *std::min_element(a.begin + t, a.begin + t + u.tokens);
        u.first_tile = first / kTileKeys;
        u.last_tile = (*std::max_element(a.end + t, a.end + t + u.tokens) + kTileKeys - 1) / kTileKeys;
        units.push_back(u);
      }
}

// `whole` are run by one thread each, `cut` tile by tile.
struct Plan {
  std::vector<Unit> whole, cut;
};

Plan plan_for(const std::vector<Attention>& sequences, int threads) {
  std::vector<Unit> units;
  for (const Attention& a : sequences)
    add_units(a, std::max<int64_t>(1, kUnitRows / std::max<int64_t>(1, a.q.cols / (a.kv.used * a.kv.kv_heads))),
              a.q.cols, units);
  int64_t work = 0;
  for (const Unit& u : units) work += u.tiles() * u.rows() * u.channels();
  Plan plan;
  const auto few = static_cast<int64_t>(units.size()) < threads;
  for (const Unit& u : units) {
    // The last to finish should hold up the others by a small part of the whole.
    const bool large = u.tiles() * u.rows() * u.channels() * 4 * threads > work;
    if (threads > 1 && large && u.tiles() >= kSplitTiles * threads) {
      plan.cut.push_back(u);
    } else if (few && u.tokens == 1 && u.heads > 1) {  // a short cache: the heads of a group to different threads
      const int64_t heads = (u.heads + threads - 1) / threads;
      for (int64_t h = 0; h < u.heads; h += heads) {
        Unit part = u;
        part.first_head += h, part.heads = std::min(heads, u.heads - h);
        plan.whole.push_back(part);
      }
    } else {
      plan.whole.push_back(u);
    }
  }
  return plan;
}

// `row` is scratch of C floats.
void gather(const kernels::Table& kernels, const Unit& u, const Queries& to, float* row) {
  const int64_t used = u.of->kv.used, channels = u.channels();
  for (int64_t r = 0; r < u.rows(); ++r) {
    to.begin[r] = u.of->begin[u.token(r)], to.end[r] = u.of->end[u.token(r)];
    const bool bytes = u.of->kv.type == KvType::Q8_0;
    float* at = bytes ? row : to.q + r * channels;
    std::memcpy(at, u.of->q.row(u.token(r)) + u.column(r), static_cast<size_t>(used) * sizeof(float));
    std::fill(at + used, at + channels, 0.0F);
    if (bytes) to.q_scale[r] = kernels.quantize16(at, channels, INT16_MAX, to.q16 + r * channels);
  }
}

void clear(const Sums& s, int64_t rows, int64_t channels) {
  std::fill(s.max, s.max + rows, -INFINITY);
  std::fill(s.sum, s.sum + rows, 0.0F);
  std::fill(s.out, s.out + rows * channels, 0.0F);
}

void run_tile(const kernels::Table& kernels, const Unit& u, const Queries& from, float scale, int64_t tile,
              float* scratch, const Sums& to) {
  const KvPages& kv = u.of->kv;
  const int64_t first = tile * kTileKeys, rows = u.rows();
  const int64_t last = *std::max_element(from.end, from.end + rows), count = std::min<int64_t>(kTileKeys, last - first);
  const size_t head = static_cast<size_t>(u.kv_head) * head_bytes(kv.type, kv.channels);
  const void *k[kTileKeys / kPageKeys] = {}, *v[kTileKeys / kPageKeys] = {};
  for (int64_t page = 0; page * kPageKeys < count; ++page) {
    const int64_t at = first / kPageKeys + page;
    if (kv.k[at] == nullptr) continue;  // below the window of every row here
    k[page] = kv.k[at] + head, v[page] = kv.v[at] + head;
  }
  float* scores = take(scratch, rows * kTileKeys);
  kernels.attend({from.q, kv.channels, from.q16, from.q_scale, rows, kv.channels, scale, k, v, kv.type, first, count,
                  from.begin, from.end, scores, scratch, to.max, to.sum, to.out});
}

// Row r of a tile's result, n of them, into row r of the running ones.
void merge(const kernels::Table& kernels, const Sums& tile, const Sums& all, int64_t r, int64_t n, int64_t channels) {
  kernels::AttendTile t{};
  t.rows = n, t.channels = channels;
  t.max = tile.max + r, t.sum = tile.sum + r, t.out = tile.out + r * channels;
  kernels.attend_merge(t, all.max + r, all.sum + r, all.out + r * channels, channels);
}

void finish(const kernels::Table& kernels, const Unit& u, const Sums& all, int64_t r) {
  float* row = all.out + r * u.channels();
  kernels.scale(1.0F / all.sum[r], u.of->kv.used, row);
  std::copy(row, row + u.of->kv.used, u.of->out.row(u.token(r)) + u.column(r));
}

void run_whole(const kernels::Table& kernels, const Unit& u, float scale, Buffer<float>& scratch) {
  const int64_t rows = u.rows(), channels = u.channels();
  float* p =
      scratch.reserve(queries_floats(rows, channels) + 2 * sums_floats(rows, channels) + tile_floats(rows, channels));
  const Queries queries = take_queries(p, rows, channels);
  const Sums all = take_sums(p, rows, channels), one = take_sums(p, rows, channels);
  gather(kernels, u, queries, p);
  clear(all, rows, channels);
  for (int64_t tile = u.first_tile; tile < u.last_tile; ++tile) {
    run_tile(kernels, u, queries, scale, tile, p, one);
    merge(kernels, one, all, 0, rows, channels);
  }
  for (int64_t r = 0; r < rows; ++r) finish(kernels, u, all, r);
}

// The tiles of the units that were cut, in rounds whose results fit the shared scratch.
class Rounds {
 public:
  Rounds(Context& on, const std::vector<Unit>& units, float scale) : on_(on), scale_(scale) {
    int64_t kept = 0, largest = 0, widest = 0;
    for (const Unit& u : units) {
      kept += queries_floats(u.rows(), u.channels()) + sums_floats(u.rows(), u.channels());
      largest = std::max(largest, sums_floats(u.rows(), u.channels()));
      widest = std::max(widest, u.channels());
    }
    const int64_t slots = std::max(kRoundFloats, largest * 2 * on.team.threads());
    float* p = on.attention.reserve(kept + slots + widest);
    for (const Unit& u : units) {
      Cut cut{&u, take_queries(p, u.rows(), u.channels()), take_sums(p, u.rows(), u.channels()), u.first_tile, 0};
      clear(cut.all, u.rows(), u.channels());
      cuts_.push_back(cut);
    }
    slots_ = p, end_ = p + slots;
    for (const Cut& cut : cuts_) gather(on.kernels, *cut.unit, cut.queries, end_);
  }

  bool done() const { return first_ == cuts_.size(); }

  // The tiles of the next round. Returns how many.
  int64_t next() {
    jobs_.clear();
    float* p = slots_;
    for (size_t i = first_; i < cuts_.size(); ++i) {
      Cut& cut = cuts_[i];
      cut.first_job = jobs_.size();
      for (; cut.tile < cut.unit->last_tile; ++cut.tile) {
        if (p + sums_floats(cut.unit->rows(), cut.unit->channels()) > end_) return size();
        jobs_.push_back({i, cut.tile, take_sums(p, cut.unit->rows(), cut.unit->channels())});
      }
    }
    return size();
  }

  void run(int64_t job, int worker) {
    const Job& j = jobs_[static_cast<size_t>(job)];
    const Cut& cut = cuts_[j.cut];
    float* scratch =
        on_.workers[static_cast<size_t>(worker)].attention.reserve(tile_floats(cut.unit->rows(), cut.unit->channels()));
    run_tile(on_.kernels, *cut.unit, cut.queries, scale_, j.tile, scratch, j.result);
  }

  // Folds the round's results, tile after tile, and writes out the units that are complete.
  void fold() {
    rows_.clear();
    for (size_t i = first_; i < cuts_.size() && i <= jobs_.back().cut; ++i)
      for (int64_t r = 0; r < cuts_[i].unit->rows(); ++r) rows_.emplace_back(i, r);
    on_.team.run(static_cast<int64_t>(rows_.size()), [&](int64_t task, int) {
      const auto [i, r] = rows_[static_cast<size_t>(task)];
      const Cut& cut = cuts_[i];
      for (size_t job = cut.first_job; job < jobs_.size() && jobs_[job].cut == i; ++job)
        merge(on_.kernels, jobs_[job].result, cut.all, r, 1, cut.unit->channels());
      if (cut.tile == cut.unit->last_tile) finish(on_.kernels, *cut.unit, cut.all, r);
    });
    while (first_ < cuts_.size() && cuts_[first_].tile == cuts_[first_].unit->last_tile) ++first_;
  }

 private:
  struct Cut {
    const Unit* unit;
    Queries queries;
    Sums all;
    int64_t tile;      // the next one
    size_t first_job;  // of this round
  };
  struct Job {
    size_t cut;
    int64_t tile;
    Sums result;
  };
  int64_t size() const { return static_cast<int64_t>(jobs_.size()); }
  Context& on_;
  float scale_;
  std::vector<Cut> cuts_;
  std::vector<Job> jobs_;
  std::vector<std::pair<size_t, int64_t>> rows_;
  size_t first_ = 0;  // cuts before it are complete
  float *slots_ = nullptr, *end_ = nullptr;
};

// Keys and values that any token sees are read once; each token works on those it sees.
void count(Profile& profile, const Attention& a) {
  int64_t pairs = 0, first = a.q.rows > 0 ? a.begin[0] : 0, last = first;
  for (int64_t t = 0; t < a.q.rows; ++t) {
    pairs += a.end[t] - a.begin[t];
    first = std::min(first, a.begin[t]), last = std::max(last, a.end[t]);
  }
  const auto key = static_cast<int64_t>(head_bytes(a.kv.type, a.kv.channels)) * a.kv.kv_heads / kPageKeys;
  profile.count((last - first) * key * 2, 4 * pairs * a.q.cols);
}

}  // namespace

void attention(Context& on, const std::vector<Attention>& sequences, float scale) {
  const Profile::Scope scope(on.profile, Operation::Attention);
  for (const Attention& a : sequences) {
    check(a);
    if (on.profile != nullptr) count(*on.profile, a);
  }
  const Plan plan = plan_for(sequences, on.team.threads());
  const auto whole = static_cast<int64_t>(plan.whole.size());
  const auto run_unit = [&](int64_t index, int worker) {
    run_whole(on.kernels, plan.whole[static_cast<size_t>(index)], scale,
              on.workers[static_cast<size_t>(worker)].attention);
  };
  if (plan.cut.empty()) {
    on.team.run(whole, run_unit);
    return;
  }
  Rounds rounds(on, plan.cut, scale);
  for (bool first = true; !rounds.done(); first = false) {
    const int64_t jobs = rounds.next();
    on.team.run(jobs + (first ? whole : 0), [&](int64_t index, int worker) {
      if (index < jobs)
        rounds.run(index, worker);
      else
        run_unit(index - jobs, worker);
    });
    rounds.fold();
  }
}

void attention_weights(Context& on, const float* q, const KvPages& kv, int64_t kv_head, int64_t begin, int64_t end,
                       float scale, float* out, int worker) {
  const size_t before = static_cast<size_t>(kv_head) * head_bytes(kv.type, kv.channels);
  float* key = on.workers[static_cast<size_t>(worker)].floats.reserve(kv.channels);
  float most = -INFINITY;
  for (int64_t j = begin; j < end; ++j) {
    load_key(on.kernels, kv, kv.k[j / kPageKeys] + before, j % kPageKeys, key);
    double sum = 0;
    for (int64_t d = 0; d < kv.used; ++d) sum += static_cast<double>(q[d]) * static_cast<double>(key[d]);
    out[j] = static_cast<float>(sum) * scale;
    most = std::max(most, out[j]);
  }
  double total = 0;
  for (int64_t j = begin; j < end; ++j) total += out[j] = std::exp(out[j] - most);
  for (int64_t j = begin; j < end; ++j) out[j] = static_cast<float>(static_cast<double>(out[j]) / total);
}

}  // namespace gemlet::ops
