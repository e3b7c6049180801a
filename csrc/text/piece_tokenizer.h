// What SPM and BPE share: a vocabulary that has been checked, its pieces by name and by id, special pieces cut out of the
// text first, and bytes for a character that is no piece. How symbols merge is the derived class's.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "text/piece_table.h"
#include "text/special.h"
#include "text/tokenizer.h"
#include "text/word_split.h"

namespace gemlet::text {

class PieceTokenizer : public Tokenizer {
 public:
  std::string piece(int32_t id, bool special) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  PieceKind kind(int32_t id) const override;
  int32_t find(std::string_view text) const override { return table_.find(text); }

  // For the rules that merge.h asks: a character's id, and what becomes of a symbol that stays.
  int32_t start(std::string_view character) const {
    const auto first = static_cast<uint8_t>(character[0]);
    if (first < 128) return ascii_[first];
    return character == kSpaceMark ? mark_ : table_.find(character);
  }
  void emit(std::string_view symbol, int32_t id, std::vector<int32_t>& ids) const {
    if (id >= 0)
      ids.push_back(id);
    else
      for (const char byte : symbol) ids.push_back(bytes_[static_cast<uint8_t>(byte)]);
  }

 protected:
  explicit PieceTokenizer(Vocabulary vocabulary);

  size_t count() const { return vocabulary_.pieces.size(); }
  // The start piece, then special pieces as their ids and `encode_fragment(std::string_view)` for the text between them.
  template <class EncodeFragment>
  void encode_between(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids,
                      const EncodeFragment& encode_fragment) const {
    check_size(text);
    if (add_bos && vocabulary_.bos >= 0) ids.push_back(vocabulary_.bos);
    encode_around(parse_special ? all_specials() : user_defined_, text, ids, [&](std::string_view between) {
      const SpecialMatcher& late = parse_special ? late_all_ : late_user_defined_;
      if (late.empty())
        encode_fragment(between);
      else
        encode_around(late, between, ids, encode_fragment);
    });
  }

  Vocabulary vocabulary_;
  PieceTable table_;
  WordSplitter splitter_;

 private:
  template <class EncodeFragment>
  void encode_around(const SpecialMatcher& specials, std::string_view text, std::vector<int32_t>& ids,
                     const EncodeFragment& encode_fragment) const {
    // The search goes on behind the piece itself, so the next one may lie in the white space that this one has taken; as in
    // `tokenizers`, both count.
    size_t begin = 0;
    for (size_t searched = 0; searched < text.size();) {
      SpecialMatcher::Match match = specials.next(text, searched);
      if (match.size == 0) break;
      searched = match.begin + match.size;
      if (!vocabulary_.added.empty()) widen(match, text, begin);
      if (match.begin > begin) encode_fragment(text.substr(begin, match.begin - begin));
      ids.push_back(match.id);
      begin = match.begin + match.size;
    }
    if (begin < text.size()) encode_fragment(text.substr(begin));
  }
  // Takes in the white space on the sides that the piece strips, not further left than `least`.
  void widen(SpecialMatcher::Match& match, std::string_view text, size_t least) const;

  static void check_size(std::string_view text);
  std::vector<int32_t> check() const;  // the ids of user-defined pieces, once everything else is sound
  const AddedPiece* added(int32_t id) const;
  std::vector<int32_t> late_ids(bool control) const;
  void find_bytes();
  const SpecialMatcher& all_specials() const;
  PieceKind kind_at(size_t id) const;

  SpecialMatcher user_defined_, late_user_defined_, late_all_;
  mutable std::once_flag all_once_;  // thousands of control pieces, wanted only with parse_special
  mutable std::unique_ptr<const SpecialMatcher> all_;
  std::array<int32_t, 256> bytes_{};  // byte -> id of the piece that stands for it
  std::array<int32_t, 128> ascii_{};  // character -> id, -1: no piece
  int32_t mark_ = -1;                 // id of the space mark by itself
};

}  // namespace gemlet::text
