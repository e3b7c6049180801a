// BPE by merge rank, Gemma 4's: special pieces first, then spaces become U+2581 and the adjacent pair whose merge has the
// lowest rank merges, the leftmost of equals; a character that is no piece becomes its bytes. Unless the vocabulary says
// otherwise, a run of newlines is never merged with other text: it is the longest run that is a piece, again and again.
// Ids are those of `tokenizers`, and of llama.cpp but for runs longer than any piece; of invalid UTF-8, which the first does
// not take and the second replaces, the bytes.
#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <utility>

#include "core/error.h"
#include "text/merge_table.h"
#include "text/piece_tokenizer.h"
#include "text/word_encoder.h"

namespace gemlet::text {
namespace {

constexpr size_t kLongestRun = 31;  // newlines that one piece may stand for

class BpeTokenizer final : public PieceTokenizer {
 public:
  explicit BpeTokenizer(Vocabulary vocabulary);

  void encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const override;

 private:
  struct Rules {
    const BpeTokenizer* of;
    PairCache* pairs;
    std::vector<int32_t>* ids;
    int32_t start(std::string_view character) const { return of->start(character); }
    Pair find(const char* /*data*/, size_t /*size*/, int32_t left, int32_t right) const {
      if (left < 0 || right < 0) return {};
      return pairs->get(left, right, [&] { return of->merges_.find(left, right); });
    }
    void emit(std::string_view symbol, int32_t id) const { of->emit(symbol, id, *ids); }
  };

  void encode_newlines(size_t count, std::vector<int32_t>& ids) const;

  struct Run {
    size_t size = 0;  // newlines; 0: no piece
    int32_t id = -1;
  };

  MergeTable merges_;
  std::array<Run, kLongestRun + 1> runs_;  // [n]: the longest piece of at most n newlines
};

BpeTokenizer::BpeTokenizer(Vocabulary vocabulary)
    : PieceTokenizer(std::move(vocabulary)), merges_(vocabulary_.merges, vocabulary_.pieces, table_) {
  std::vector<std::string_view>().swap(vocabulary_.merges);  // the table has their ids
  vocabulary_.merges_owner.reset();
  for (size_t size = 1; size <= kLongestRun; ++size) {
    const int32_t id = find(std::string(size, '\n'));
    const bool plain = id >= 0 && (kind(id) == PieceKind::Normal || kind(id) == PieceKind::UserDefined);
    runs_[size] = plain ? Run{size, id} : runs_[size - 1];
  }
}

void BpeTokenizer::encode_newlines(size_t count, std::vector<int32_t>& ids) const {
  while (count > 0) {
    const Run& run = runs_[std::min(count, kLongestRun)];
    emit("\n", run.id, ids);
    count -= std::max<size_t>(run.size, 1);
  }
}

void BpeTokenizer::encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const {
  PairCache pairs(text.size());
  WordEncoder<Rules> words(splitter_, text.size(), Rules{this, &pairs, &ids}, ids);
  encode_between(text, add_bos, parse_special, ids, [&](std::string_view fragment) {
    if (!vocabulary_.newlines_apart) return words.encode(fragment);
    for (size_t begin = 0; begin < fragment.size();) {
      const size_t newline = std::min(fragment.find('\n', begin), fragment.size());
      words.encode(fragment.substr(begin, newline - begin));
      begin = std::min(fragment.find_first_not_of('\n', newline), fragment.size());
      encode_newlines(begin - newline, ids);
    }
  });
}

}  // namespace

std::unique_ptr<const Tokenizer> Tokenizer::bpe(Vocabulary vocabulary) {
  if (vocabulary.merges.empty()) throw BadFile("vocabulary: expected merges, got none");
  return std::make_unique<BpeTokenizer>(std::move(vocabulary));
}

}  // namespace gemlet::text
