// What a sequence is made of: token ids, and in place of some of them soft rows, as a tower makes them of a picture, a
// film or a sound. Ids and rows travel together, because per-layer embeddings and prefix matching ask for both.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

namespace gemlet::model {

enum class SoftKind : uint8_t { Image, Video, Audio };
constexpr uint8_t kSoftKinds = 3;

// Positions [begin, begin + count) that hold soft rows.
struct Span {
  int64_t begin = 0, count = 0;
  SoftKind kind = SoftKind::Image;
  std::array<uint64_t, 2> hash = {};  // of the rows: two spans are the same if this is
  std::shared_ptr<const float> rows;  // (count, D); null where only their identity is kept
  int64_t end() const { return begin + count; }
  bool same(const Span& other) const {
    return begin == other.begin && count == other.count && kind == other.kind && hash == other.hash;
  }
};

// Positions [begin, end) that see each other, and so are run together.
struct Block {
  int64_t begin, end;
};

struct Prompt {
  std::vector<int32_t> ids;   // (T); at a soft row its placeholder's, which only tells what stands there
  std::vector<Span> spans;    // ascending, apart
  std::vector<Block> blocks;  // ascending: pictures and frames of a film, for a model that looks at them both ways

  Prompt() = default;
  Prompt(std::vector<int32_t> tokens) : ids(std::move(tokens)) {}  // NOLINT: a row of ids is a prompt

  int64_t size() const { return static_cast<int64_t>(ids.size()); }
  // Throws BadArgument unless every span has positions of its own.
  void check_spans() const;
  // both_ways: whether the model looks at pictures both ways. Pictures without a token between them are one block.
  void find_blocks(bool both_ways);
  // The largest place up to `at` where reading can stop: `at` itself, or the begin of the block it lies inside.
  int64_t cut(int64_t at) const;
  // How many tokens from `first` on, a place where reading can stop, to run at once: at most `most`, but all of a block
  // that begins there.
  int64_t step(int64_t first, int64_t most) const;
  // The first `count` positions without the rows: what is kept of a prompt that was read. A span that goes on behind
  // them stays as it is, so that it can be told from others.
  Prompt first(int64_t count) const;
};

// How many first positions hold the same, up to a place where reading of either can stop.
int64_t common_prefix(const Prompt& a, const Prompt& b);

}  // namespace gemlet::model
