// SPM as Gemma 3's GGUF files carry it: special pieces first, then spaces become U+2581 and adjacent symbols merge into the
// piece with the highest score, the leftmost of equals; a character that is no piece becomes its bytes.
// Ids are llama.cpp's for any bytes, invalid UTF-8 included.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <memory>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "text/call_cache.h"
#include "text/merge.h"
#include "text/piece_table.h"
#include "text/quoted.h"
#include "text/special.h"
#include "text/tokenizer.h"
#include "text/word_split.h"

namespace gemlet::text {
namespace {

constexpr std::string_view kDigits = "0123456789ABCDEF";
constexpr size_t kMaxText = size_t{1} << 30U;  // symbols count in 32 bits, and a space grows to three bytes

// Ranks rise as scores fall; both zeros are one score. Never the highest number, which means "no merge".
uint32_t rank_of(float score) {
  const uint32_t bits = std::bit_cast<uint32_t>(score + 0.0F);
  return (bits & 0x80000000U) != 0 ? bits : ~bits & 0x7FFFFFFFU;
}

bool is_ascii(char c) { return static_cast<uint8_t>(c) < 128; }
size_t place_of_two(char first, char second) { return static_cast<size_t>(first) * 128 + static_cast<size_t>(second); }

std::string byte_name(unsigned byte) { return {'<', '0', 'x', kDigits[byte >> 4U], kDigits[byte & 15U], '>'}; }

// The byte that a byte piece stands for: of '<0x0A>', or the piece itself; -1 if it is neither.
int byte_value(std::string_view piece) {
  if (piece.size() == 1) return static_cast<uint8_t>(piece[0]);
  if (piece.size() != 6 || piece.substr(0, 3) != "<0x" || piece[5] != '>') return -1;
  const size_t high = kDigits.find(piece[3]), low = kDigits.find(piece[4]);
  return high == std::string_view::npos || low == std::string_view::npos ? -1 : static_cast<int>(high * 16 + low);
}

class SpmTokenizer final : public Tokenizer {
 public:
  explicit SpmTokenizer(Vocabulary vocabulary);

  void encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const override;
  std::string piece(int32_t id, bool special) const override;
  const Vocabulary& vocabulary() const override { return vocabulary_; }
  PieceKind kind(int32_t id) const override;
  int32_t find(std::string_view text) const override { return table_.find(text); }

 private:
  struct Work;  // what one call of encode needs beside the ids

  size_t count() const { return vocabulary_.pieces.size(); }
  std::vector<int32_t> check() const;  // the ids of user-defined pieces, once everything else is sound
  void find_bytes();
  const SpecialMatcher& all_specials() const;
  float score(size_t id) const { return load<float>(vocabulary_.scores + id); }
  PieceKind kind_at(size_t id) const;
  int32_t start(std::string_view character) const;
  Pair merge(const char* data, size_t size) const;
  Pair merge_two(char first, char second) const { return two_[place_of_two(first, second)]; }
  void encode_fragment(std::string_view fragment, Work& work) const;
  void encode_word(std::string_view word, Work& work) const;
  void emit(std::string_view symbol, int32_t id, std::vector<int32_t>& ids) const;

  Vocabulary vocabulary_;
  PieceTable table_;
  WordSplitter splitter_;
  SpecialMatcher user_defined_;
  mutable std::once_flag all_once_;  // thousands of control pieces, wanted only with parse_special
  mutable std::unique_ptr<const SpecialMatcher> all_;
  std::array<int32_t, 256> bytes_{};  // byte -> id of the piece that stands for it
  std::array<int32_t, 128> ascii_{};  // character -> id, -1: no piece
  std::vector<Pair> two_;             // two ASCII characters -> what they merge into
  int32_t mark_ = -1;                 // id of the space mark by itself
};

struct SpmTokenizer::Work {
  struct Rules {
    const SpmTokenizer* of;
    Work* work;
    int32_t start(std::string_view character) const { return of->start(character); }
    Pair find(const char* data, size_t size, int32_t left, int32_t right) const {
      if (size == 2 && is_ascii(data[0]) && is_ascii(data[1])) return of->merge_two(data[0], data[1]);
      if (left < 0 || right < 0) return of->merge(data, size);
      return work->pairs.get(left, right, [&] { return of->merge(data, size); });
    }
    void emit(std::string_view symbol, int32_t id) const { of->emit(symbol, id, work->ids); }
  };
  Work(const SpmTokenizer& of, size_t text_bytes, std::vector<int32_t>& out)
      : ids(out), words(text_bytes), pairs(text_bytes), merger(Rules{&of, this}) {}
  Work(const Work&) = delete;
  Work& operator=(const Work&) = delete;

  std::vector<int32_t>& ids;
  WordCache words;
  PairCache pairs;
  std::string marked;  // the word with its spaces as marks
  Merger<Rules> merger;
};

SpmTokenizer::SpmTokenizer(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      table_(vocabulary_.pieces),
      splitter_(vocabulary_.pieces),
      user_defined_(vocabulary_.pieces, check()) {
  find_bytes();
  for (size_t c = 0; c < ascii_.size(); ++c) ascii_[c] = table_.find(std::string(1, static_cast<char>(c)));
  mark_ = table_.find(kSpaceMark);
  // About half of all lookups are for these, so they have a table of their own.
  two_.resize(128 * 128);
  for (size_t id = 0; id < count(); ++id) {
    const std::string_view text = vocabulary_.pieces[id];
    if (text.size() == 2 && is_ascii(text[0]) && is_ascii(text[1]))
      two_[place_of_two(text[0], text[1])] = {rank_of(score(id)), static_cast<int32_t>(id)};
  }
}

std::vector<int32_t> SpmTokenizer::check() const {
  if (count() == 0) throw BadFile("vocabulary: expected pieces, got none");
  if (vocabulary_.scores == nullptr) throw BadFile("vocabulary: expected a score for every piece, got no scores");
  const std::pair<const char*, int32_t> marks[] = {
      {"bos", vocabulary_.bos}, {"eos", vocabulary_.eos}, {"unknown", vocabulary_.unk}, {"padding", vocabulary_.pad}};
  for (const auto& [name, id] : marks)
    if (id < -1 || id >= static_cast<int64_t>(count()))
      throw BadFile(cat("vocabulary: ", name, " id ", id, ": expected -1 (none) to ", count() - 1));
  std::vector<int32_t> user_defined;
  for (size_t id = 0; id < count(); ++id) {
    if (std::isnan(score(id))) throw BadFile(cat("vocabulary: piece ", id, ": expected a number as score, got NaN"));
    const int32_t kind = vocabulary_.kinds == nullptr ? 1 : load<int32_t>(vocabulary_.kinds + id);
    if (kind == static_cast<int32_t>(PieceKind::Normal)) continue;
    if (kind < 1 || kind > 6) throw BadFile(cat("vocabulary: piece ", id, ": expected a kind from 1 to 6, got ", kind));
    if (kind == static_cast<int32_t>(PieceKind::UserDefined)) user_defined.push_back(static_cast<int32_t>(id));
    if (kind == static_cast<int32_t>(PieceKind::Byte) && byte_value(vocabulary_.pieces[id]) < 0)
      throw BadFile(cat("vocabulary: piece ", id, " is of kind byte: expected a name like '<0x0A>', got ",
                        quoted(vocabulary_.pieces[id])));
  }
  return user_defined;
}

void SpmTokenizer::find_bytes() {
  for (unsigned byte = 0; byte < 256; ++byte) {
    const std::string name = byte_name(byte);
    const char self = static_cast<char>(byte);
    bytes_[byte] = table_.find(name);
    if (bytes_[byte] < 0) bytes_[byte] = table_.find({&self, 1});
    if (bytes_[byte] < 0)
      throw BadFile(cat("vocabulary: expected a piece '", name, "' for characters without a piece of their own; ",
                        "this vocabulary has no byte fallback"));
  }
}

// Control pieces are thousands, and most texts are encoded without them: found and sorted when first asked for.
const SpecialMatcher& SpmTokenizer::all_specials() const {
  std::call_once(all_once_, [this] {
    std::vector<int32_t> ids;
    for (size_t id = 0; id < count(); ++id) {
      const PieceKind kind = kind_at(id);
      if (kind == PieceKind::UserDefined || kind == PieceKind::Control || kind == PieceKind::Unknown)
        ids.push_back(static_cast<int32_t>(id));
    }
    all_ = std::make_unique<SpecialMatcher>(vocabulary_.pieces, std::move(ids));
  });
  return *all_;
}

PieceKind SpmTokenizer::kind_at(size_t id) const {
  if (vocabulary_.kinds != nullptr) return static_cast<PieceKind>(load<int32_t>(vocabulary_.kinds + id));
  // Then a byte piece is known by its name alone.
  const std::string_view text = vocabulary_.pieces[id];
  return text.size() > 1 && byte_value(text) >= 0 ? PieceKind::Byte : PieceKind::Normal;
}

PieceKind SpmTokenizer::kind(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= count())
    throw BadArgument(
        cat("token id ", id, ": expected 0 to ", count() - 1, ", the vocabulary has ", count(), " pieces"));
  return kind_at(static_cast<size_t>(id));
}

std::string SpmTokenizer::piece(int32_t id, bool special) const {
  const PieceKind its = kind(id);
  std::string text(vocabulary_.pieces[static_cast<size_t>(id)]);
  switch (its) {
    case PieceKind::Control:
    case PieceKind::Unknown:
      return special ? text : std::string();
    case PieceKind::UserDefined:
      return text;  // matched in raw text, so already written as the text has it
    case PieceKind::Byte:
      return {static_cast<char>(byte_value(text))};
    case PieceKind::Normal:
    case PieceKind::Unused:
      break;
  }
  for (size_t mark = text.find(kSpaceMark); mark != std::string::npos; mark = text.find(kSpaceMark, mark + 1))
    text.replace(mark, kSpaceMark.size(), 1, ' ');
  return text;
}

int32_t SpmTokenizer::start(std::string_view character) const {
  const auto first = static_cast<uint8_t>(character[0]);
  if (first < 128) return ascii_[first];
  return character == kSpaceMark ? mark_ : table_.find(character);
}

Pair SpmTokenizer::merge(const char* data, size_t size) const {
  const int32_t id = table_.find({data, size});
  return id < 0 ? Pair{} : Pair{rank_of(score(static_cast<size_t>(id))), id};
}

void SpmTokenizer::emit(std::string_view symbol, int32_t id, std::vector<int32_t>& ids) const {
  if (id >= 0)
    ids.push_back(id);
  else
    for (const char byte : symbol) ids.push_back(bytes_[static_cast<uint8_t>(byte)]);
}

void SpmTokenizer::encode_word(std::string_view word, Work& work) const {
  bool found = false;
  WordCache::Entry* const entry = work.words.place(word, found);
  std::vector<int32_t>& ids = work.ids;
  if (found) {
    ids.insert(ids.end(), entry->ids.begin(), entry->ids.begin() + entry->count);
    return;
  }
  const size_t before = ids.size();
  std::string_view marked = word;
  if (word.find(' ') != std::string_view::npos) {
    work.marked.clear();
    for (const char c : word)
      if (c == ' ')
        work.marked += kSpaceMark;
      else
        work.marked += c;
    marked = work.marked;
  }
  work.merger.run(marked);
  if (entry != nullptr) WordCache::keep(*entry, word, ids.data() + before, ids.size() - before);
}

void SpmTokenizer::encode_fragment(std::string_view fragment, Work& work) const {
  for (size_t begin = 0; begin < fragment.size();) {
    const size_t end = splitter_.end_of_word(fragment, begin);
    encode_word(fragment.substr(begin, end - begin), work);
    begin = end;
  }
}

void SpmTokenizer::encode(std::string_view text, bool add_bos, bool parse_special, std::vector<int32_t>& ids) const {
  if (text.size() > kMaxText)
    throw BadArgument(cat("text of ", text.size(), " bytes: expected at most ", kMaxText, "; encode it in parts"));
  if (add_bos && vocabulary_.bos >= 0) ids.push_back(vocabulary_.bos);
  const SpecialMatcher& specials = parse_special ? all_specials() : user_defined_;
  Work work(*this, text.size(), ids);
  for (size_t begin = 0; begin < text.size();) {
    const SpecialMatcher::Match match = specials.next(text, begin);
    const std::string_view fragment = text.substr(begin, match.begin - begin);
    // The space that some vocabularies want before a text is wanted again after each special piece.
    if (!fragment.empty())
      vocabulary_.add_space_prefix ? encode_fragment(std::string(1, ' ').append(fragment), work)
                                   : encode_fragment(fragment, work);
    if (match.size > 0) ids.push_back(match.id);
    begin = match.begin + match.size;
  }
}

}  // namespace

std::unique_ptr<const Tokenizer> Tokenizer::spm(Vocabulary vocabulary) {
  return std::make_unique<SpmTokenizer>(std::move(vocabulary));
}

}  // namespace gemlet::text
