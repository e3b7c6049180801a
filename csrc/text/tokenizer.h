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

// What text is matched with otherwise than as it stands: a piece that a user or a maker added to a vocabulary.
struct AddedPiece {
  int32_t id = -1;
  bool strips_left = false, strips_right = false;  // takes the white space on this side with it
  bool late = false;                               // looked for between the other added pieces only
};

struct Vocabulary {
  std::vector<std::string_view> pieces;  // (V) bytes of `owner`, spaces written as U+2581
  const float* scores = nullptr;         // (V) unaligned little-endian floats, or null
  const int32_t* kinds = nullptr;        // (V) unaligned little-endian PieceKind numbers, or null (= Normal)
  std::vector<std::string_view> merges;  // "left right", lowest rank first. Empty: SPM
  int32_t bos = -1, eos = -1, unk = -1, pad = -1;
  bool add_bos = true;
  bool add_space_prefix = false;
  std::vector<AddedPiece> added;  // control and user-defined pieces with one of those rules, by id
  bool newlines_apart = true;     // BPE: a run of newlines is the longest piece of them, never merged with other text
  bool user_defined_marked = false;          // user-defined pieces write spaces as U+2581, too
  std::shared_ptr<const void> owner;         // keeps the bytes alive
  std::shared_ptr<const void> merges_owner;  // those of the merges, where they can go once the merges are read
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
