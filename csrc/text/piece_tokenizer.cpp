// Checking a vocabulary, once, and the way from an id back to bytes.
#include "text/piece_tokenizer.h"

#include <utility>

#include "core/error.h"
#include "text/byte_names.h"
#include "text/hash.h"
#include "text/quoted.h"

namespace gemlet::text {
namespace {

constexpr size_t kMaxText = size_t{1} << 30U;  // symbols count in 32 bits, and a space grows to three bytes

}  // namespace

PieceTokenizer::PieceTokenizer(Vocabulary vocabulary)
    : vocabulary_(std::move(vocabulary)),
      table_(vocabulary_.pieces),
      splitter_(vocabulary_.pieces),
      user_defined_(vocabulary_.pieces, check()) {
  find_bytes();
  for (size_t c = 0; c < ascii_.size(); ++c) ascii_[c] = table_.find(std::string(1, static_cast<char>(c)));
  mark_ = table_.find(kSpaceMark);
}

void PieceTokenizer::check_size(std::string_view text) {
  if (text.size() > kMaxText)
    throw BadArgument(cat("text of ", text.size(), " bytes: expected at most ", kMaxText, "; encode it in parts"));
}

std::vector<int32_t> PieceTokenizer::check() const {
  if (count() == 0) throw BadFile("vocabulary: expected pieces, got none");
  const std::pair<const char*, int32_t> marks[] = {
      {"bos", vocabulary_.bos}, {"eos", vocabulary_.eos}, {"unknown", vocabulary_.unk}, {"padding", vocabulary_.pad}};
  for (const auto& [name, id] : marks)
    if (id < -1 || id >= static_cast<int64_t>(count()))
      throw BadFile(cat("vocabulary: ", name, " id ", id, ": expected -1 (none) to ", count() - 1));
  std::vector<int32_t> user_defined;
  for (size_t id = 0; id < count(); ++id) {
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

void PieceTokenizer::find_bytes() {
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
const SpecialMatcher& PieceTokenizer::all_specials() const {
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

PieceKind PieceTokenizer::kind_at(size_t id) const {
  if (vocabulary_.kinds != nullptr) return static_cast<PieceKind>(load<int32_t>(vocabulary_.kinds + id));
  // Then a byte piece is known by its name alone.
  const std::string_view text = vocabulary_.pieces[id];
  return text.size() > 1 && byte_value(text) >= 0 ? PieceKind::Byte : PieceKind::Normal;
}

PieceKind PieceTokenizer::kind(int32_t id) const {
  if (id < 0 || static_cast<size_t>(id) >= count())
    throw BadArgument(
        cat("token id ", id, ": expected 0 to ", count() - 1, ", the vocabulary has ", count(), " pieces"));
  return kind_at(static_cast<size_t>(id));
}

std::string PieceTokenizer::piece(int32_t id, bool special) const {
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

}  // namespace gemlet::text
