// SPM as Gemma 3's GGUF files carry it: special pieces first, then spaces become U+2581 and adjacent symbols merge into the
// piece with the highest score, the leftmost of equals; a character that is no piece becomes its bytes.
// Ids are llama.cpp's for any bytes, invalid UTF-8 included.
#include <bit>
#include <cmath>
#include <memory>
#include <string>
#include <utility>

#include "core/error.h"
#include "text/piece_tokenizer.h"
#include "text/word_encoder.h"

namespace gemlet::text {
namespace {

// Ranks rise as scores fall; both zeros are one score. Never the highest number, which means "no merge".
uint32_t rank_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0F);
  return (bits & 0x80000000U) != 0 ? bits : ~bits & 0x7FFFFFFFU;
}

bool is_ascii(char c) { return static_cast<uint8_t>(c) < 128; }
size_t place_of_two(char first, char second) { return static_cast<size_t>(first) * 128 + static_cast<size_t>(second); }

class SpmTokenizer final : public PieceTokenizer {
 public:
  explicit SpmTokenizer(Vocabulary vocabulary);

  void encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const override;

 private:
  struct Rules {
    const SpmTokenizer* of;
    PairCache* pairs;
    std::vector<int32_t>* ids;
    int32_t start(std::string_view character) const { return of->start(character); }
    Pair find(const char* data, size_t size, int32_t left, int32_t right) const {
      if (size == 2 && is_ascii(data[0]) && is_ascii(data[1])) return of->merge_two(data[0], data[1]);
      if (left < 0 || right < 0) return of->merge(data, size);
      return pairs->get(left, right, [&] { return of->merge(data, size); });
    }
    void emit(std::string_view symbol, int32_t id) const { of->emit(symbol, id, *ids); }
  };

  float score(size_t id) const { return load<float>(vocabulary_.scores + id); }
  Pair merge(const char* data, size_t size) const {
    const int32_t id = table_.find({data, size});
    return id < 0 ? Pair{} : Pair{rank_of(score(static_cast<size_t>(id))), id};
  }
  Pair merge_two(char first, char second) const { return two_[place_of_two(first, second)]; }

  std::vector<Pair> two_;  // two ASCII characters -> what they merge into
};

SpmTokenizer::SpmTokenizer(Vocabulary vocabulary) : PieceTokenizer(std::move(vocabulary)) {
  if (vocabulary_.scores == nullptr) throw BadFile("vocabulary: expected a score for every piece, got no scores");
  // About half of all lookups are for these, so they have a table of their own.
  two_.resize(128 * 128);
  for (size_t id = 0; id < count(); ++id) {
    if (std::isnan(score(id))) throw BadFile(cat("vocabulary: piece ", id, ": expected a number as score, got NaN"));
    const std::string_view text = vocabulary_.pieces[id];
    if (text.size() == 2 && is_ascii(text[0]) && is_ascii(text[1]))
      two_[place_of_two(text[0], text[1])] = {rank_of(score(id)), static_cast<int32_t>(id)};
  }
}

void SpmTokenizer::encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const {
  PairCache pairs(text.size());
  WordEncoder<Rules> words(splitter_, text.size(), Rules{this, &pairs, &ids}, ids);
  encode_between(text, add_bos, parse_special, ids, [&](std::string_view fragment) {
    // The space that some vocabularies want before a text is wanted again after each special piece.
    if (vocabulary_.add_space_prefix)
      words.encode(std::string(1, ' ').append(fragment));
    else
      words.encode(fragment);
  });
}

}  // namespace

std::unique_ptr<const Tokenizer> Tokenizer::spm(Vocabulary vocabulary) {
  return std::make_unique<SpmTokenizer>(std::move(vocabulary));
}

}  // namespace gemlet::text
