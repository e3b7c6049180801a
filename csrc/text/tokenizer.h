// Text <-> token ids from a vocabulary. Two algorithms share one interface: SPM (Gemma 3's GGUF: pieces with scores) and
// BPE by merge rank (Gemma 4). Immutable after construction, so safe to share between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace gemlet::text {

enum class PieceKind : uint8_t { Normal = 1, Unknown = 2, Control = 3, UserDefined = 4, Unused = 5, Byte = 6 };

struct Vocabulary {
  std::vector<std::string_view> pieces;  // (V) bytes owned by the caller's mapping, spaces written as U+2581
  const float* scores = nullptr;         // (V) unaligned little-endian floats, or null
  const int32_t* kinds = nullptr;        // (V) unaligned little-endian PieceKind numbers, or null (= Normal)
  std::vector<std::string_view> merges;  // "left right", lowest rank first; the same owner. Empty: SPM
  int32_t bos = -1, eos = -1, unk = -1, pad = -1;
  bool add_bos = true;
  bool add_space_prefix = false;
  std::shared_ptr<const void> owner;  // keeps the bytes alive
};

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  // Throws BadFile if the vocabulary cannot be used (no bytes, duplicate control pieces, ...).
  static std::unique_ptr<const Tokenizer> spm(Vocabulary vocabulary);
  // Also throws BadFile without merges, or if one names a piece that there is not. Scores and the space prefix are not
  // used, and `vocabulary().merges` is empty afterwards.
  static std::unique_ptr<const Tokenizer> bpe(Vocabulary vocabulary);

  // Appends ids of `text` (any bytes). parse_special: control pieces written out in the text become their ids.
  virtual void encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const = 0;
  // The bytes of one token: byte pieces as their byte, U+2581 as a space; control pieces as "" unless `special`.
  virtual std::string piece(int32_t id, bool special = false) const = 0;
  virtual const Vocabulary& vocabulary() const = 0;
  virtual PieceKind kind(int32_t id) const = 0;
  virtual int32_t find(std::string_view piece) const = 0;  // -1 if absent

  // The bytes of several tokens; no leading space is taken away. May be invalid UTF-8 where the ids say so.
  std::string decode(const int32_t* ids, size_t count, bool special = false) const;
};

}  // namespace gemlet::text
